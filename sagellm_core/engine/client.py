"""Prompts in, completions or streams out, over any engine."""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sagellm_core.contract import (
    Engine,
    GenerationRequest,
    InvalidRequestError,
    SamplingParams,
)

from .batch import Batch
from .completion import Completion
from .patience import Patience
from .samples import repeated, sample_settings
from .stream import TokenStream

if TYPE_CHECKING:
    import asyncio

    from .async_stream import AsyncTokenStream

Prompts = Sequence[int] | Sequence[Sequence[int]]


class EngineCalls:
    """The synchronous and the asynchronous way to use :attr:`engine`.

    From several threads and event loops at once, too. Everywhere, ``timeout`` is in seconds and
    bounds the whole call, also when the provider hangs; ``priority`` orders requests, smaller
    first.
    """

    @property
    def engine(self) -> Engine:
        """The engine that is used."""
        raise AssertionError("whoever has these calls says which engine they go to")

    def generate(
        self,
        prompts: Prompts,
        sampling: SamplingParams | Sequence[SamplingParams],
        *,
        n: int = 1,
        timeout: float | None = None,
        priority: int = 0,
        return_errors: bool = False,
    ) -> list[Completion]:
        """Complete one prompt or several, and wait.

        More prompts than the engine's queue takes are fed to it as it empties.

        :param prompts: token ids, or a list of lists of token ids.
        :param sampling: for all of them, or one for each.
        :param n: answers to each prompt. It is asked for here and not in the sampling settings,
            because those say how one sequence is sampled, and each answer is a sequence of its
            own. The prompt's full blocks are computed once. Greedy answers are equal;
            otherwise they differ by their seeds: see :func:`.samples.sample_settings`.
        :param return_errors: keep an error in :attr:`Completion.error` instead of raising it.
        :returns: in the order of the prompts; those of prompt ``i`` are ``i * n`` to
            ``i * n + n - 1``.
        :raises InvalidRequestError: ``n`` is not an integer of at least 1.
        :raises SageLLMError: the first error of any prompt; the others are cancelled.
        """
        over: queue.SimpleQueue[int] = queue.SimpleQueue()
        patience = Patience(timeout)
        requests = self._requests(prompts, sampling, patience, priority, n)
        batch = Batch(self.engine, requests, patience, over.put, return_errors=return_errors)
        try:
            while True:
                batch.feed()
                if batch.done:
                    return batch.completions()
                try:
                    batch.settle(over.get(timeout=patience.left()))
                except queue.Empty:
                    if patience.over:
                        batch.give_up()
        except BaseException:  # Ctrl-C, too
            batch.cancel()
            raise

    def stream(
        self,
        prompt_token_ids: Sequence[int],
        sampling: SamplingParams,
        *,
        timeout: float | None = None,
        priority: int = 0,
    ) -> TokenStream:
        """Complete one prompt, event by event.

        :returns: an iterator over :class:`TokenEvent`; closing or dropping it cancels.
        :raises InvalidRequestError: the request can never run.
        """
        patience = Patience(timeout)
        (request,) = self._requests([prompt_token_ids], sampling, patience, priority)
        return TokenStream(self.engine, request, patience)

    async def agenerate(
        self,
        prompts: Prompts,
        sampling: SamplingParams | Sequence[SamplingParams],
        *,
        n: int = 1,
        timeout: float | None = None,
        priority: int = 0,
        return_errors: bool = False,
    ) -> list[Completion]:
        """As :meth:`generate`, without blocking the event loop. Cancelling the task cancels."""
        import asyncio

        loop = asyncio.get_running_loop()
        over: asyncio.Queue[int] = asyncio.Queue()
        patience = Patience(timeout)
        requests = self._requests(prompts, sampling, patience, priority, n)

        def tell(index: int) -> None:
            # The event loop may have been closed since; then nobody waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(over.put_nowait, index)

        batch = Batch(self.engine, requests, patience, tell, return_errors=return_errors)
        try:
            while True:
                batch.feed()
                if batch.done:
                    return batch.completions()
                index = await _next_index(over, patience)
                if index is not None:
                    batch.settle(index)
                elif patience.over:
                    batch.give_up()
        except BaseException:  # a cancelled task, too
            batch.cancel()
            raise

    def astream(
        self,
        prompt_token_ids: Sequence[int],
        sampling: SamplingParams,
        *,
        timeout: float | None = None,
        priority: int = 0,
    ) -> AsyncTokenStream:
        """As :meth:`stream`, for ``async for``. Call it inside a running event loop."""
        from .async_stream import AsyncTokenStream

        patience = Patience(timeout)
        (request,) = self._requests([prompt_token_ids], sampling, patience, priority)
        return AsyncTokenStream(self.engine, request, patience)

    def _requests(
        self,
        prompts: Prompts,
        sampling: SamplingParams | Sequence[SamplingParams],
        patience: Patience,
        priority: int,
        n: int = 1,
    ) -> list[GenerationRequest]:
        try:
            rows: list[Any] = list(prompts)
        except TypeError:
            raise _no_prompts(prompts) from None
        if rows and isinstance(rows[0], int):
            rows = [rows]
        if isinstance(sampling, SamplingParams):
            settings: Sequence[SamplingParams] = [sampling] * len(rows)
        else:
            settings = sampling
        if len(settings) != len(rows):
            raise InvalidRequestError(
                f"There are {len(rows)} prompts and {len(settings)} sampling settings.",
                hint="Give one for all, or one for each prompt.",
            )
        rows = repeated(_token_lists(rows), n)
        settings = [one for setting in settings for one in sample_settings(setting, n)]
        return [
            GenerationRequest(
                request_id=os.urandom(12).hex(),
                prompt_token_ids=row,
                sampling=setting,
                priority=priority,
                deadline=patience.deadline,
            )
            for row, setting in zip(rows, settings, strict=True)
        ]


class EngineClient(EngineCalls):
    """:class:`EngineCalls` for any engine, a vendor's own too. It does not close the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def engine(self) -> Engine:
        """The engine that was given."""
        return self._engine


def _token_lists(rows: list[Any]) -> list[tuple[Any, ...]]:
    lists = []
    for row in rows:
        try:
            lists.append(tuple(row))
        except TypeError:
            raise _no_prompts(row) from None
    return lists


def _no_prompts(found: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"A prompt is a list of token ids, not {type(found).__name__}.",
        hint="Give one list of integers, or a list of such lists.",
    )


async def _next_index(over: asyncio.Queue[int], patience: Patience) -> int | None:
    import asyncio

    try:
        return await asyncio.wait_for(over.get(), patience.left())
    except TimeoutError:
        return None
