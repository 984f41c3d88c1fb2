"""What the requests that are over came to, summed up."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from sagellm_core.contract import DurationStats, SageLLMError

from .request import RequestState

#: Bounds of the histograms in seconds: about three a decade, over what a request waits ...
_WAITS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
)  # fmt: skip
#: ... and over what a token takes, where factors below two matter.
_TOKENS = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15,
    0.2, 0.3, 0.5, 1.0, 2.0, 5.0,
)  # fmt: skip


class _Durations:
    __slots__ = ("_bounds", "_buckets", "_longest", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        # Times in each bucket alone; the last one is for those above all bounds.
        self._buckets = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._longest = 0.0

    def add(self, seconds: float | None) -> None:
        if seconds is not None:
            self._buckets[bisect_left(self._bounds, seconds)] += 1
            self._total += seconds
            self._longest = max(self._longest, seconds)

    def stats(self) -> DurationStats:
        # Count and buckets are of one copy: they agree, also while the engine's thread adds.
        *at_most, count = accumulate(self._buckets.copy())
        return DurationStats(count, self._total, self._longest, self._bounds, tuple(at_most))


class Metrics:
    """Counts requests by how they ended, and their times. Of the engine's thread; reading it
    from another one gives each number as it is at some moment.
    """

    __slots__ = ("_queue", "_tpot", "_ttft", "cancelled", "failed", "finished")

    def __init__(self) -> None:
        self.finished = 0
        self.cancelled = 0
        self.failed = 0
        self._queue = _Durations(_WAITS)
        self._ttft = _Durations(_WAITS)
        self._tpot = _Durations(_TOKENS)

    def note_end(self, state: RequestState, now: float, error: SageLLMError | None) -> None:
        """Take a request that is over."""
        if error is not None:
            self.failed += 1
        elif state.cancelled:
            self.cancelled += 1
        else:
            self.finished += 1
        timings = state.timings(now)
        if state.admitted_at is not None:
            self._queue.add(timings.queue_s)
        self._ttft.add(timings.ttft_s)
        self._tpot.add(timings.tpot_s)

    @property
    def queue(self) -> DurationStats:
        """From arrival to the first step."""
        return self._queue.stats()

    @property
    def ttft(self) -> DurationStats:
        """From arrival to the first token."""
        return self._ttft.stats()

    @property
    def tpot(self) -> DurationStats:
        """Each request's mean time per output token after the first."""
        return self._tpot.stats()
