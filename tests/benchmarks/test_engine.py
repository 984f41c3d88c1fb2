from __future__ import annotations

import time

import pytest

from sagellm_core.contract import Runner


def test_the_free_runner_keeps_the_contract() -> None:
    from benchmarks.free_runner import FreeRunner

    assert isinstance(FreeRunner(max_slots=2, num_blocks=4), Runner)


def test_a_late_runner_answers_when_its_device_is_done() -> None:
    from benchmarks.free_runner import LateRunner
    from sagellm_core.contract import DecodeRow, QueueingRunner

    runner = LateRunner(max_slots=2, num_blocks=4, step_s=0.002, queues_ahead=True)
    assert isinstance(runner, QueueingRunner)
    begin = time.perf_counter()
    handles = [runner.decode([DecodeRow(0)]) for _ in range(3)]
    assert len(handles[-1].result().token_ids) == 1
    assert time.perf_counter() - begin >= 0.006
    assert runner.worked_s == pytest.approx(0.006)


def test_a_round_generates_what_was_asked_for() -> None:
    from benchmarks.engine import measure

    report = measure(requests=8, prompt_tokens=20, new_tokens=5, alone_tokens=30, rounds=2)
    assert len(report.together_s) == len(report.alone_s) == 2
    assert all(seconds > 0 for seconds in (*report.together_s, *report.alone_s))
    assert all(0 < share <= 1 for share in (*report.busy_read_first, *report.busy_ahead))


def test_speeds_are_those_of_the_median_round() -> None:
    from benchmarks.engine import EngineReport

    report = EngineReport(10, 4, 20, [1.0, 2.0, 50.0], 100, [0.5, 0.001, 0.002], 1e-3, [0.5], [0.9])
    assert report.tokens_per_second == 100
    assert round(report.microseconds_per_step, 6) == 20
