"""Several prompts at once, answered in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sagellm_core.contract import (
    Engine,
    GenerationRequest,
    OverloadedError,
    SageLLMError,
)

from .completion import Collector, Completion
from .patience import Patience


class Batch:
    """The bookkeeping of a batch: what is submitted, what is over, what went wrong.

    Who uses it waits for ``over`` and calls :meth:`settle`; so it serves threads and event
    loops alike.

    :param over: called with the index of a prompt that is over, from the engine's thread.
    :param return_errors: keep an error in its prompt's place instead of raising it.
    """

    def __init__(
        self,
        engine: Engine,
        requests: Sequence[GenerationRequest],
        patience: Patience,
        over: Callable[[int], object],
        *,
        return_errors: bool,
    ) -> None:
        self._engine = engine
        self._requests = requests
        self._patience = patience
        self._return_errors = return_errors
        self._collectors = [
            Collector(request.request_id, index, over) for index, request in enumerate(requests)
        ]
        self._submitted = 0
        self._flying = 0
        # Errors of prompts that the engine refused or that are not waited for any longer.
        self._errors: dict[int, SageLLMError] = {}

    @property
    def done(self) -> bool:
        """Whether every prompt has its answer or its error."""
        return self._submitted == len(self._requests) and self._flying == 0

    def feed(self) -> None:
        """Submit what the engine takes.

        :raises SageLLMError: it refused a prompt; not with ``return_errors``. A full queue is
            a reason to wait, unless nothing of this batch is there to wait for.
        """
        while self._submitted < len(self._requests):
            index = self._submitted
            try:
                self._engine.submit(self._requests[index], self._collectors[index])
            except OverloadedError as error:
                if self._flying:
                    return
                self._refused(index, error)
            except SageLLMError as error:
                self._refused(index, error)
            else:
                self._flying += 1
            self._submitted += 1

    def _refused(self, index: int, error: SageLLMError) -> None:
        if not self._return_errors:
            raise error
        self._errors[index] = error

    def settle(self, index: int) -> None:
        """Note that a prompt is over.

        :raises SageLLMError: its error; not with ``return_errors``.
        """
        self._flying -= 1
        completion = self._collectors[index].completion()
        if completion.error is not None and not self._return_errors:
            raise completion.error

    def give_up(self) -> None:
        """The time is over: cancel what is left.

        :raises RequestTimeoutError: not with ``return_errors``.
        """
        self.cancel()
        error = self._patience.error()
        if not self._return_errors:
            raise error
        for index, collector in enumerate(self._collectors):
            if not collector.over:
                self._errors.setdefault(index, error)
        self._submitted = len(self._requests)
        self._flying = 0

    def cancel(self) -> None:
        """Cancel whatever is not over."""
        for collector in self._collectors:
            if not collector.over:
                self._engine.cancel(collector.request_id)

    def completions(self) -> list[Completion]:
        """The answers, in the order of the prompts."""
        return [
            collector.completion(self._errors.get(index))
            for index, collector in enumerate(self._collectors)
        ]
