"""What a call gives back, as plain data that pickles and goes into JSON as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .contract import FinishReason, SageLLMError, Timings, TokenLogprobs, Usage


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


def answer(
    *,
    text: str,
    token_ids: Sequence[int],
    finish_reason: FinishReason,
    stop_reason: str | int | None,
    usage: Usage,
    timings: Timings,
    logprobs: Sequence[TokenLogprobs] | None,
    extras: Mapping[str, Any],
) -> dict[str, Any]:
    """The result of a finished request.

    :param extras: ``provider``, ``load_s``, and ``context`` and ``engine_id`` where there are any.
    """
    extras = dict(extras)
    result: dict[str, Any] = {
        "text": text,
        # RAG pipelines read this key.
        "generated": text,
        "finish_reason": str(finish_reason),
        "stop_reason": stop_reason,
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


def failure(error: SageLLMError, extras: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a batch for a prompt that failed, where errors were asked for as data."""
    kept = {key: value for key, value in extras.items() if key != "load_s"}
    return {
        "text": "",
        "generated": "",
        "finish_reason": "error",
        "token_ids": [],
        "error": error.to_dict(),
    } | kept
