"""What the requests that are over came to, summed up."""

from __future__ import annotations

from sagellm_core.contract import DurationStats, SageLLMError

from .request import RequestState


class _Durations:
    __slots__ = ("_count", "_longest", "_total")

    def __init__(self) -> None:
        self._count = 0
        self._total = 0.0
        self._longest = 0.0

    def add(self, seconds: float | None) -> None:
        if seconds is not None:
            self._count += 1
            self._total += seconds
            self._longest = max(self._longest, seconds)

    def stats(self) -> DurationStats:
        return DurationStats(self._count, self._total, self._longest)


class Metrics:
    """Counts requests by how they ended, and their times. Of the engine's thread; reading it
    from another one gives each number as it is at some moment.
    """

    __slots__ = ("_queue", "_tpot", "_ttft", "cancelled", "failed", "finished")

    def __init__(self) -> None:
        self.finished = 0
        self.cancelled = 0
        self.failed = 0
        self._queue = _Durations()
        self._ttft = _Durations()
        self._tpot = _Durations()

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
