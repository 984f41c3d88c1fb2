"""The engine protocol: requests in, token events out.

The generator, the server and the CLI speak to this alone. Core implements it over a
:class:`~sagellm_core.contract.Runner`; a vendor whose library is itself an engine may
implement it directly, through ``sagellm_open_engine``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from .errors import SageLLMError
from .runner import TokenLogprobs
from .sampling import SamplingParams
from .tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Limits of an engine. ``None`` leaves the choice to it."""

    #: Longest sequence, prompt and output, in tokens; at most the model's.
    max_model_len: int | None = None
    #: Most sequences computed at once.
    max_num_seqs: int = 16
    #: Most prompt tokens prefilled in one step; longer prompts are cut into chunks.
    max_prefill_tokens: int = 512
    #: Most requests waiting; one more is refused with :class:`OverloadedError`.
    max_waiting: int = 4096
    #: Tokens per KV block.
    block_size: int = 16
    #: So many KV blocks; or by ``kv_memory_bytes``; or the runner's own choice.
    num_blocks: int | None = None
    kv_memory_bytes: int | None = None
    #: Keep the keys and values of full blocks after a request, for requests that begin alike.
    prefix_cache: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One prompt to continue."""

    #: Unique among the requests that are not finished.
    request_id: str
    prompt_token_ids: tuple[int, ...]
    sampling: SamplingParams
    #: Smaller runs earlier; equal priorities run in order of arrival.
    priority: int = 0
    #: On the clock of :func:`time.monotonic`; past it the request ends with
    #: :class:`RequestTimeoutError`. ``None``: no limit.
    deadline: float | None = None


class FinishReason(StrEnum):
    """Why a request ended without an error."""

    #: An end-of-sequence token, a stop string or a stop token.
    STOP = "stop"
    #: ``max_tokens``, or the end of the context.
    LENGTH = "length"
    #: :meth:`Engine.cancel`.
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int
    #: Prompt tokens whose keys and values were found in the cache.
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent on one request."""

    #: From arrival to the first step.
    queue_s: float
    #: From arrival to the first token (TTFT); ``None`` without one.
    ttft_s: float | None
    #: Mean time per output token after the first (TPOT); ``None`` with fewer than two.
    tpot_s: float | None
    #: From arrival to the end.
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEvent:
    """News of one request. The last one has ``finish_reason`` or ``error``, never both.

    ``token_ids`` over all events are the tokens generated, an end-of-sequence token included.
    ``text`` over all events is the text generated: no special tokens, nothing from a stop
    string on, and never half a character.
    """

    request_id: str
    token_ids: tuple[int, ...] = ()
    text: str = ""
    #: Aligned with ``token_ids``, where the request asked for log-probabilities.
    logprobs: tuple[TokenLogprobs, ...] | None = None
    finish_reason: FinishReason | None = None
    #: The stop string or token id that ended it.
    stop_reason: str | int | None = None
    #: On the last event.
    usage: Usage | None = None
    #: On the last event.
    timings: Timings | None = None
    error: SageLLMError | None = None

    @property
    def last(self) -> bool:
        """Whether the request is over."""
        return self.finish_reason is not None or self.error is not None


#: Receives a request's events, from the engine's own thread: it must be quick and not raise.
EventSink = Callable[[TokenEvent], None]


@dataclass(frozen=True, slots=True)
class DurationStats:
    """Times of many requests, in seconds, and a histogram of them as Prometheus has it.

    Its series are ``le="bounds_s[i]"`` with ``at_most[i]``, ``le="+Inf"`` and ``_count`` with
    :attr:`count`, ``_sum`` with :attr:`total_s`
    (https://prometheus.io/docs/instrumenting/exposition_formats/).
    """

    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0
    #: Upper bounds, ascending; empty where an engine keeps no histogram.
    bounds_s: tuple[float, ...] = ()
    #: How many times were at most each bound.
    at_most: tuple[int, ...] = ()

    @property
    def mean_s(self) -> float | None:
        """Mean of them; ``None`` without any."""
        return self.total_s / self.count if self.count else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """A snapshot of an engine: gauges of now, counters since it was opened.

    Block counts are 0 where an engine does not count blocks.
    """

    running: int
    waiting: int
    blocks_total: int = 0
    #: Blocks that no sequence owns.
    blocks_free: int = 0
    #: Those of them whose content the prefix cache can still find.
    blocks_idle: int = 0
    preemptions: int = 0
    #: Of requests that got their first token.
    prompt_tokens: int = 0
    generated_tokens: int = 0
    #: Tokens that sequences began with, again after a preemption too, and how many of them
    #: were found in the prefix cache.
    cache_query_tokens: int = 0
    cache_hit_tokens: int = 0
    #: Requests that are over: with an answer, cancelled, with an error.
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    #: Times of the requests that are over, as in :class:`Timings`.
    queue: DurationStats = DurationStats()
    ttft: DurationStats = DurationStats()
    tpot: DurationStats = DurationStats()


@runtime_checkable
class Engine(Protocol):
    """Requests in, token events out. Every method may be called from any thread."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        ...

    @property
    def max_model_len(self) -> int:
        """Longest sequence, prompt and output together, in tokens."""
        ...

    def submit(self, request: GenerationRequest, sink: EventSink) -> None:
        """Queue a request; its events go to ``sink``, the last one exactly once.

        :raises InvalidRequestError: the request can never run (empty, too long, its
            ``max_tokens`` beyond the context, an id that is in use).
        :raises OverloadedError: the queue is full.
        :raises EngineClosedError: the engine is closed.
        """
        ...

    def cancel(self, request_id: str) -> bool:
        """End a request wherever it is, with :attr:`FinishReason.CANCELLED`.

        :returns: whether it was still under way; ``False`` when unknown or over.
        """
        ...

    def stats(self) -> EngineStats:
        """A snapshot for metrics and tests."""
        ...

    def close(self) -> None:
        """End every request with :class:`EngineClosedError` and free the device's memory.

        May be called twice.
        """
        ...
