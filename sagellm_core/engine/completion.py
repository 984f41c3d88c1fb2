"""What a request came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sagellm_core.contract import (
    FinishReason,
    SageLLMError,
    Timings,
    TokenEvent,
    TokenLogprobs,
    Usage,
)


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished request. It has ``finish_reason`` or ``error``, never both."""

    request_id: str
    token_ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason | None
    #: The stop string or token id that ended it.
    stop_reason: str | int | None
    #: ``None`` where the request never got into the engine.
    usage: Usage | None
    timings: Timings | None
    #: Aligned with ``token_ids``, where asked for.
    logprobs: tuple[TokenLogprobs, ...] | None
    error: SageLLMError | None = None


class Collector:
    """A sink that gathers a request's events and tells once when it is over.

    Gathering happens in the engine's thread, so the one who waits is woken once a request and
    not once a token.

    :param over: called with ``index`` after the last event, from the engine's thread.
    """

    __slots__ = ("_last", "_logprobs", "_over", "_text", "_token_ids", "index", "request_id")

    def __init__(self, request_id: str, index: int, over: Callable[[int], object]) -> None:
        self.request_id = request_id
        self.index = index
        self._over = over
        self._token_ids: list[int] = []
        self._text: list[str] = []
        self._logprobs: list[TokenLogprobs] | None = None
        self._last: TokenEvent | None = None

    def __call__(self, event: TokenEvent) -> None:
        """Take an event."""
        self._token_ids.extend(event.token_ids)
        if event.text:
            self._text.append(event.text)
        if event.logprobs is not None:
            if self._logprobs is None:
                self._logprobs = []
            self._logprobs.extend(event.logprobs)
        if event.last:
            self._last = event
            self._over(self.index)

    @property
    def over(self) -> bool:
        """Whether the last event came."""
        return self._last is not None

    def completion(self, error: SageLLMError | None = None) -> Completion:
        """What has come so far.

        :param error: why it is not waited for any longer, where the last event did not come.
        """
        last = self._last
        return Completion(
            request_id=self.request_id,
            token_ids=tuple(self._token_ids),
            text="".join(self._text),
            finish_reason=last.finish_reason if last is not None else None,
            stop_reason=last.stop_reason if last is not None else None,
            usage=last.usage if last is not None else None,
            timings=last.timings if last is not None else None,
            logprobs=tuple(self._logprobs) if self._logprobs is not None else None,
            error=last.error if last is not None else error,
        )
