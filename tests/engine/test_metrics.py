"""Histograms of the requests' times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.contract import DurationStats, Timings
from sagellm_core.engine.metrics import Metrics


class _Over:
    """A request that is over, with times chosen by the test."""

    cancelled = False
    admitted_at = 0.0

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds

    def timings(self, now: float) -> Timings:
        # A request that was answered waited in the queue; the others may be missing.
        return Timings(
            queue_s=self.seconds or 0.0, ttft_s=self.seconds, tpot_s=self.seconds, total_s=0.0
        )


def noted(times: list[float | None]) -> Metrics:
    metrics = Metrics()
    for seconds in times:
        metrics.note_end(_Over(seconds), 0.0, None)  # type: ignore[arg-type]
    return metrics


@given(st.lists(st.floats(min_value=0, max_value=1e6), max_size=50))
def test_each_bucket_counts_what_is_at_most_its_bound(times: list[float]) -> None:
    metrics = noted(list(times))
    for stats in (metrics.queue, metrics.ttft, metrics.tpot):
        assert stats.count == len(times)
        assert list(stats.bounds_s) == sorted(set(stats.bounds_s))
        assert stats.at_most == tuple(
            sum(seconds <= bound for seconds in times) for bound in stats.bounds_s
        )
        assert stats.total_s == pytest.approx(sum(times))
        assert stats.longest_s == max(times, default=0.0)


def test_a_time_on_a_bound_belongs_below_it() -> None:
    bound = Metrics().ttft.bounds_s[3]
    assert noted([bound]).ttft.at_most[2:5] == (0, 1, 1)


def test_a_time_that_there_was_not_is_not_counted() -> None:
    metrics = noted([None, 0.1])
    assert (metrics.queue.count, metrics.ttft.count, metrics.tpot.count) == (2, 1, 1)


def test_an_engine_without_histograms_has_empty_ones() -> None:
    stats = DurationStats(2, 3.0, 2.0)
    assert (stats.bounds_s, stats.at_most, stats.mean_s) == ((), (), 1.5)
