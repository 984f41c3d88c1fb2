"""Cancelling and deadlines, wherever a request is."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from sagellm_core.contract import (
    FinishReason,
    RequestTimeoutError,
    TokenEvent,
)


def cancelled_once(events: Any) -> None:
    assert events.wait().finish_reason is FinishReason.CANCELLED
    assert sum(event.last for event in events.all) == 1


def test_cancelling_in_the_queue(harness: Any, gate: Any) -> None:
    one = harness(max_slots=1)
    one.runner.before = gate
    _, first = one.submit(max_tokens=3)
    queued, events = one.submit()
    assert one.engine.cancel(queued)
    gate.open()
    cancelled_once(events)
    assert events.token_ids == []
    assert first.wait().finish_reason is not FinishReason.CANCELLED
    assert not one.engine.cancel(queued)
    one.settle()


def test_cancelling_in_the_middle_of_a_prefill(harness: Any) -> None:
    one = harness(max_prefill_tokens=8)
    cancel: list[Any] = []

    def before(name: str, rows: list[Any]) -> None:
        if rows[0].start == 16:
            cancel.append(one.engine.cancel("long"))

    one.runner.before = before
    _, events = one.submit("x" * 60, request_id="long")
    cancelled_once(events)
    assert cancel == [True]
    assert len(one.runner.calls) == 3 + one.ahead
    one.settle()


def test_cancelling_in_decode_twice_and_from_another_thread(harness: Any) -> None:
    one = harness()
    one.runner.before = lambda name, rows: time.sleep(0.005)
    request_id, events = one.submit(ignore_eos=True)
    events.wait(count=3)
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(one.engine.cancel(request_id)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(results)
    cancelled_once(events)
    assert not one.engine.cancel(request_id)
    one.settle()


def test_cancelling_from_the_sink_ends_at_once(harness: Any, fakes: Any) -> None:
    one = harness()
    seen = fakes.Events()

    def sink(event: TokenEvent) -> None:
        seen(event)
        if len(seen.all) == 3:
            assert one.engine.cancel(event.request_id)
            assert one.engine.cancel(event.request_id)

    one.submit(sink=sink, ignore_eos=True)
    cancelled_once(seen)
    assert len(seen.token_ids) == 3
    one.settle()


def test_cancelling_what_is_unknown_is_false(harness: Any) -> None:
    assert harness().engine.cancel("nobody") is False


def test_a_cancelled_request_that_ends_in_the_same_step_is_cancelled(
    harness: Any, gate: Any
) -> None:
    one = harness()
    one.runner.before = gate
    request_id, events = one.submit(max_tokens=1)
    assert gate.reached.wait(10)
    assert one.engine.cancel(request_id)
    gate.open()
    cancelled_once(events)


def test_a_cancelled_request_whose_step_fails_is_cancelled(harness: Any) -> None:
    one = harness()

    def before(name: str, rows: list[Any]) -> None:
        one.engine.cancel("r1")
        raise ValueError("boom")

    one.runner.before = before
    cancelled_once(one.submit()[1])


def test_a_sink_that_raises_loses_its_request_and_nobody_else_does(
    harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = harness()

    def sink(event: TokenEvent) -> None:
        raise ValueError("broken sink")

    one.submit(sink=sink, ignore_eos=True)
    _, events = one.submit(max_tokens=5, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH
    one.settle()
    assert "broken sink" in caplog.text


def test_a_deadline_in_decode(harness: Any) -> None:
    one = harness()
    one.runner.before = lambda name, rows: time.sleep(0.01)
    _, events = one.submit(ignore_eos=True, timeout=0.1)
    last = events.wait()
    assert isinstance(last.error, RequestTimeoutError)
    assert last.finish_reason is None
    assert last.usage is not None
    assert last.usage.completion_tokens == len(events.token_ids) > 0


def test_a_deadline_in_the_middle_of_a_prefill(harness: Any) -> None:
    one = harness(max_prefill_tokens=4)
    one.runner.before = lambda name, rows: time.sleep(0.01)
    _, events = one.submit("x" * 200, timeout=0.1)
    last = events.wait()
    assert isinstance(last.error, RequestTimeoutError)
    assert events.token_ids == []
    one.settle()
    assert 2 < len(one.runner.calls) < 50


def test_a_deadline_in_the_queue(harness: Any) -> None:
    one = harness(max_slots=1)
    one.runner.before = lambda name, rows: time.sleep(0.01)
    first_id, first = one.submit(ignore_eos=True)
    _, events = one.submit(timeout=0.05)
    last = events.wait()
    assert isinstance(last.error, RequestTimeoutError)
    assert "in the queue" in last.error.message
    one.engine.cancel(first_id)
    first.wait()


def test_many_deadlines_of_ended_requests_are_not_kept(harness: Any) -> None:
    one = harness()
    for _ in range(200):
        one.submit(max_tokens=1, timeout=1000)[1].wait()
    assert len(one.engine._loop._deadlines._heap) <= 64
