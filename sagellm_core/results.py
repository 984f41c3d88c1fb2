"""What a call gives back, as plain data that pickles and goes into JSON as it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from .contract import EngineError, SageLLMError, TokenEvent, TokenLogprobs
from .engine import Completion

_log = logging.getLogger("sagellm")


class TextChunk(str):
    """A piece of an answer: the new text itself, with what belongs to it.

    >>> "".join([TextChunk("Hel"), TextChunk("lo", finish_reason="stop")])
    'Hello'
    """

    __slots__ = ("finish_reason", "result", "token_ids")

    #: Tokens that this piece added. A piece may have tokens and no text yet.
    token_ids: tuple[int, ...]
    #: Set on the last piece: ``stop``, ``length`` or ``cancelled``.
    finish_reason: str | None
    #: Set on the last piece: what ``execute`` would have returned.
    result: dict[str, Any] | None

    def __new__(
        cls,
        text: str = "",
        *,
        token_ids: Sequence[int] = (),
        finish_reason: str | None = None,
        result: dict[str, Any] | None = None,
    ) -> TextChunk:
        """A piece of ``text``."""
        chunk = super().__new__(cls, text)
        chunk.token_ids = tuple(token_ids)
        chunk.finish_reason = finish_reason
        chunk.result = result
        return chunk

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        return (str(self),), {
            "token_ids": self.token_ids,
            "finish_reason": self.finish_reason,
            "result": self.result,
        }

    @property
    def text(self) -> str:
        """The new text."""
        return str(self)


class Pieces:
    """Turns a request's events into pieces, and at the end into a result."""

    __slots__ = ("_extras", "_logprobs", "_pending", "_text", "_token_ids")

    def __init__(self, extras: Mapping[str, Any]) -> None:
        self._extras = extras
        self._text: list[str] = []
        self._token_ids: list[int] = []
        #: Tokens that no piece has carried yet.
        self._pending: list[int] = []
        self._logprobs: list[TokenLogprobs] = []

    def take(self, event: TokenEvent) -> TextChunk | None:
        """The piece that ``event`` makes; ``None`` while a character is not complete."""
        self._text.append(event.text)
        self._token_ids.extend(event.token_ids)
        self._pending.extend(event.token_ids)
        self._logprobs.extend(event.logprobs or ())
        if not event.last and not event.text:
            return None
        token_ids = tuple(self._pending)
        self._pending.clear()
        if not event.last:
            return TextChunk(event.text, token_ids=token_ids)
        result = answer(
            event,
            text="".join(self._text),
            token_ids=self._token_ids,
            logprobs=self._logprobs or None,
            extras=self._extras,
        )
        return TextChunk(
            event.text,
            token_ids=token_ids,
            finish_reason=result["finish_reason"],
            result=result,
        )


def answer(
    last: Completion | TokenEvent,
    *,
    text: str,
    token_ids: Sequence[int],
    logprobs: Sequence[TokenLogprobs] | None,
    extras: Mapping[str, Any],
) -> dict[str, Any]:
    """The result of a finished request.

    :param last: what says how it ended.
    :param extras: ``provider``, ``load_s``, and ``context`` and ``engine_id`` where there are any.
    :raises EngineError: a vendor's engine left out how it ended, the usage or the timings.
    """
    usage, timings = last.usage, last.timings
    if last.finish_reason is None or usage is None or timings is None:
        raise EngineError(
            "The provider's engine ended a request without finish reason, usage and timings.",
            hint="This is a defect of the provider; report it to its maintainers.",
        )
    extras = dict(extras)
    result: dict[str, Any] = {
        "text": text,
        # RAG pipelines read this key.
        "generated": text,
        "finish_reason": str(last.finish_reason),
        "stop_reason": last.stop_reason,
        "token_ids": list(token_ids),
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "cached_tokens": usage.cached_tokens,
        },
        "timings": {
            "queue_s": timings.queue_s,
            "ttft_s": timings.ttft_s,
            "tpot_s": timings.tpot_s,
            "total_s": timings.total_s,
            "load_s": extras.pop("load_s"),
        },
    }
    if logprobs is not None:
        result["logprobs"] = [
            {
                "token_id": entry.token_id,
                "logprob": entry.logprob,
                "top": [{"token_id": token, "logprob": value} for token, value in entry.top],
            }
            for entry in logprobs
        ]
    return result | extras


def failure(error: Exception, extras: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a prompt that failed, where errors were asked for as data."""
    kept = {key: value for key, value in extras.items() if key != "load_s"}
    return {
        "text": "",
        "generated": "",
        "finish_reason": "error",
        "token_ids": [],
        "error": described(error),
    } | kept


def described(error: Exception) -> dict[str, Any]:
    """``type``, ``code``, ``message``, ``hint`` and ``retryable`` of ``error``.

    Anything but an error of sagellm is a defect, so that goes into the log with its traceback.
    """
    if isinstance(error, SageLLMError):
        return error.to_dict()
    _log.error("an input failed by a defect", exc_info=error)
    return {
        "type": type(error).__name__,
        "code": SageLLMError.code,
        "message": str(error),
        "hint": "This is a defect of sagellm or of a plugin; the log has its traceback.",
        "retryable": False,
    }
