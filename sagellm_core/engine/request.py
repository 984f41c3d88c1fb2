"""One request inside the engine: its tokens, its place in the cache, its text."""

from __future__ import annotations

from sagellm_core.contract import (
    EventSink,
    FinishReason,
    GenerationRequest,
    SamplingParams,
    Timings,
    Usage,
)

from .detokenizer import Detokenizer
from .prefix_cache import ROOT
from .stops import StopMatcher


class RequestState:
    """State of one request, owned by the engine's thread.

    :param sampling: the request's settings with a seed.
    :param eos_ids: tokens that end it and are not part of its text.
    :param max_new: most new tokens, with regard to the context.
    :param detokenizer: ``None`` for a model without a tokenizer: its text stays empty.
    :param arrived: :func:`time.monotonic` at the submission.
    :param number: order of arrival, unique within the engine.
    """

    __slots__ = (
        "admitted_at",
        "arrived",
        "begun",
        "blocks",
        "broken",
        "cached",
        "cancelled",
        "capacity",
        "content",
        "deadline",
        "detokenizer",
        "end_ids",
        "ended",
        "eos_ids",
        "finish_reason",
        "first_token_at",
        "found",
        "generated",
        "key",
        "known",
        "last_token_at",
        "leader",
        "leader_at",
        "limit",
        "matcher",
        "max_new",
        "number",
        "prompt_len",
        "request_id",
        "sampling",
        "settled",
        "sink",
        "slot",
        "stop_reason",
        "tokens",
        "wants_logprobs",
    )

    def __init__(
        self,
        request: GenerationRequest,
        sink: EventSink,
        *,
        sampling: SamplingParams,
        eos_ids: frozenset[int],
        max_new: int,
        detokenizer: Detokenizer | None,
        arrived: float,
        number: int,
    ) -> None:
        self.request_id = request.request_id
        self.sink = sink
        self.sampling = sampling
        self.deadline = request.deadline
        self.number = number
        #: Sorts the queue, and decides who gives way when blocks run out.
        self.key = (request.priority, number)
        #: Prompt, then output.
        self.tokens = list(request.prompt_token_ids)
        self.prompt_len = len(self.tokens)
        self.generated = 0
        self.max_new = max_new
        #: Tokens in the cache once its last one is sampled, which is never written itself.
        self.limit = self.prompt_len + max_new - 1
        self.eos_ids = eos_ids
        self.end_ids = eos_ids.union(sampling.stop_token_ids)
        self.wants_logprobs = sampling.logprobs is not None
        self.detokenizer = detokenizer
        self.matcher = StopMatcher(sampling.stop) if sampling.stop else None
        # The place in the cache: -1 and nothing while it waits.
        self.slot = -1
        self.blocks: list[int] = []
        #: Tokens that the blocks have room for.
        self.capacity = 0
        #: Tokens whose keys and values are in the blocks, or will be by steps handed over.
        self.cached = 0
        #: Those of them that are there for certain: their steps were read. Equal to ``cached``
        #: where no step that names the sequence is unread.
        self.settled = 0
        #: A step that names it failed, and what was handed over behind that is void.
        self.broken = False
        #: Whether the runner knows of it: its first chunk was handed over.
        self.begun = False
        #: Its first so many blocks are in the prefix cache, and the number of the last's content.
        self.known = 0
        self.content = ROOT
        #: Wait with the first chunk until this one's first ``leader_at`` tokens are computed.
        self.leader: RequestState | None = None
        self.leader_at = 0
        #: Prompt tokens found in the cache when it began for the first time.
        self.found: int | None = None
        #: Set from any thread, under the loop's lock.
        self.cancelled = False
        self.ended = False
        self.finish_reason: FinishReason | None = None
        self.stop_reason: str | int | None = None
        self.arrived = arrived
        self.admitted_at: float | None = None
        self.first_token_at: float | None = None
        self.last_token_at: float | None = None

    def __lt__(self, other: RequestState) -> bool:
        return self.key < other.key

    @property
    def prefill_left(self) -> int:
        """Tokens to prefill before the next one can be sampled."""
        return len(self.tokens) - self.cached

    def vacate(self) -> None:
        """Forget the place in the cache."""
        self.slot = -1
        self.blocks = []
        self.capacity = 0
        self.cached = 0
        self.settled = 0
        self.begun = False
        self.known = 0
        self.content = ROOT
        self.leader = None

    def accept(self, token: int) -> str:
        """Take a sampled token, and end if it says so.

        :returns: the text that became certain.
        """
        self.tokens.append(token)
        self.generated += 1
        ends = token in self.end_ids
        text = ""
        if self.detokenizer is not None and not (ends and token in self.eos_ids):
            text = self.detokenizer.push(token)
            if self.matcher is not None:
                text, stop = self.matcher.push(text)
                if stop is not None:
                    self.finish_reason = FinishReason.STOP
                    self.stop_reason = stop
                    return text
        if ends:
            self.finish_reason = FinishReason.STOP
            self.stop_reason = token
        elif self.generated >= self.max_new:
            self.finish_reason = FinishReason.LENGTH
        else:
            return text
        return text + self.last_text()

    def last_text(self) -> str:
        """The text withheld so far, when no more tokens will come."""
        if self.detokenizer is None:
            return ""
        text = self.detokenizer.flush(cut=self.finish_reason is not FinishReason.STOP)
        if self.matcher is None:
            return text
        text, stop = self.matcher.push(text)
        if stop is not None:
            self.finish_reason = FinishReason.STOP
            self.stop_reason = stop
            return text
        return text + self.matcher.flush()

    def usage(self) -> Usage:
        """Tokens so far."""
        return Usage(
            prompt_tokens=self.prompt_len,
            completion_tokens=self.generated,
            cached_tokens=self.found or 0,
        )

    def timings(self, now: float) -> Timings:
        """Seconds so far."""
        started = self.admitted_at if self.admitted_at is not None else now
        ttft = tpot = None
        if self.first_token_at is not None and self.last_token_at is not None:
            ttft = self.first_token_at - self.arrived
            if self.generated > 1:
                tpot = (self.last_token_at - self.first_token_at) / (self.generated - 1)
        return Timings(
            queue_s=started - self.arrived, ttft_s=ttft, tpot_s=tpot, total_s=now - self.arrived
        )
