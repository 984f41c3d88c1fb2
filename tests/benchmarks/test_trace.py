from __future__ import annotations

from typing import Any

import pytest


def test_a_seed_makes_one_trace() -> None:
    from benchmarks.trace import arrivals

    one, same, other = (
        arrivals(requests=20, rate=10, seed=seed, vocab_size=100) for seed in (1, 1, 2)
    )
    assert one == same != other
    assert [a.at_s for a in one] == sorted(a.at_s for a in one)
    assert all(16 <= len(a.prompt) <= 512 and 8 <= a.new_tokens <= 128 for a in one)
    assert len({len(a.prompt) for a in one}) > 10


def test_totals_and_waits_are_those_that_peers_report(
    launch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.peers.catalogue import Peer
    from benchmarks.trace import arrivals, measure, show

    report = measure(
        [Peer("sagellm", "w", "", form="fine"), Peer("vllm", "w", "", form="fine")],
        launch,
        model="m",
        processor="p",
        vocab_size=100,
        threads=1,
        requests=8,
        rate=10,
        seed=0,
        batch=4,
        rounds=2,
    )
    trace = arrivals(requests=8, rate=10, seed=0, vocab_size=100)
    for row in report.rows:
        assert not row.failure
        # The fake says a second to the first token, then a second a token.
        assert row.ttft_s == pytest.approx([1.0, 1.0])
        assert row.total_s == pytest.approx([max(a.at_s + 1 + a.new_tokens for a in trace)] * 2)
    show(report)
    assert "takes 1.00 of the time of vllm" in capsys.readouterr().out
