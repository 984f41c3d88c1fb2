from __future__ import annotations

from typing import Any

import pytest


def test_each_round_times_a_new_prefix_and_one_seen_before(
    launch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.peers.catalogue import Peer
    from benchmarks.prefix import measure, show

    report = measure(
        [Peer("sagellm", "w", "", form="fine"), Peer("vllm", "w", "", form="broken")],
        launch,
        model="m",
        processor="p",
        vocab_size=100,
        threads=1,
        prefix_tokens=20,
        own_tokens=3,
        rounds=2,
    )
    fine, broken = report.rows
    assert (len(fine.cold_s), len(fine.warm_s)) == (2, 2)
    assert "no such model" in broken.failure
    show(report)
    assert "not measured" in capsys.readouterr().out


def test_the_part_is_of_medians() -> None:
    from benchmarks.prefix import PrefixResult

    assert PrefixResult("a", "w", cold_s=[1, 2, 9], warm_s=[0.1, 0.2, 5]).part == 0.1
