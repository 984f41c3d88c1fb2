"""One call of a runner: started, waited for, and checked against the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any

from sagellm_core.contract import (
    PrefillRow,
    RunnerError,
    SageLLMError,
    StepHandle,
    StepResult,
    TokenLogprobs,
)
from sagellm_core.providers.fault import named

from .request import RequestState

#: Token ids a row, and log-probabilities a row or ``None``.
Sampled = tuple[list[int], Sequence[TokenLogprobs | None] | None]


class Step:
    """A runner's call under way.

    :param name: ``prefill`` or ``decode``, for messages.
    :param call: the runner's method.
    :param rows: its argument.
    :param states: the requests of the rows.
    """

    __slots__ = ("_handle", "error", "name", "rows", "states")

    def __init__(
        self,
        name: str,
        call: Callable[[Any], StepHandle],
        rows: Sequence[Any],
        states: list[RequestState],
    ) -> None:
        self.name = name
        self.rows = rows
        self.states = states
        #: Why it failed, once it has.
        self.error: SageLLMError | None = None
        self._handle: StepHandle | None = None
        # A plugin may raise anything, SystemExit too; none of it may end the engine's thread.
        try:
            self._handle = call(rows)
        except BaseException as error:
            self.error = self._explained(error)

    def wait(self, vocab_size: int | None) -> Sampled | None:
        """Wait for the step and check what it gave.

        :returns: one token a row (-1 where none was sampled) and log-probabilities; or
            ``None`` when the step failed: see :attr:`error`.
        """
        if self.error is not None:
            return None
        try:
            if self._handle is None:
                raise self._broken("returned None and no handle")
            return self._checked(self._handle.result(), vocab_size)
        except BaseException as error:
            self.error = self._explained(error)
            return None

    def _checked(self, result: StepResult, vocab_size: int | None) -> Sampled:
        tokens = list(map(index, result.token_ids))
        count = len(self.states)
        if len(tokens) != count:
            raise self._broken(f"returned {len(tokens)} tokens for {count} rows")
        if self.name == "prefill":
            for row, token in zip(self.rows, tokens, strict=True):
                assert isinstance(row, PrefillRow)
                if not row.sample and token != -1:
                    raise self._broken(f"sampled token {token} for a row that asked for none")
            drawn = [token for row, token in zip(self.rows, tokens, strict=True) if row.sample]
        else:
            drawn = tokens
        if drawn:
            worst = min(drawn)
            if worst >= 0 and vocab_size is not None:
                worst = max(drawn)
            if worst < 0 or (vocab_size is not None and worst >= vocab_size):
                known = f" of {vocab_size} tokens" if vocab_size is not None else ""
                raise self._broken(f"sampled token id {worst}, outside the vocabulary{known}")
        logprobs = result.logprobs
        if logprobs is not None and len(logprobs) != count:
            raise self._broken(f"returned {len(logprobs)} log-probabilities for {count} rows")
        return tokens, logprobs

    def _broken(self, what: str) -> RunnerError:
        return RunnerError(
            f"The provider's runner broke its contract: {self.name} {what}.",
            hint="This is a defect of the provider's plugin; please report it to its maker.",
        )

    def _explained(self, error: BaseException) -> SageLLMError:
        if isinstance(error, SageLLMError):
            return error
        explained = RunnerError(
            f"The provider's runner failed in {self.name} with {named(error)}.",
            hint="Other requests go on, and this one may be sent again. The cause is attached; "
            "on the command line, --debug shows it.",
        )
        explained.__cause__ = error
        return explained
