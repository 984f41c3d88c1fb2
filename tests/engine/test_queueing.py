"""Steps handed over before the one before has been read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagellm_core.contract import (
    DeviceLostError,
    DeviceOutOfMemoryError,
    EngineClosedError,
    FinishReason,
    QueueingRunner,
    RequestTimeoutError,
    Runner,
    RunnerError,
)

Engines = Callable[..., Any]


@pytest.fixture
def queueing(harness_over: Any, fakes: Any) -> Engines:
    """Makes harnesses over a runner that queues."""
    return partial(harness_over, fakes.QueueingRunner)


def verbs(runner: Any) -> list[str]:
    return [f"{verb} {name}" for verb, name, _ in runner.log]


def test_each_step_is_handed_over_before_the_one_before_is_waited_for(queueing: Engines) -> None:
    one = queueing()
    _, events = one.submit(max_tokens=4, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH
    one.settle()
    # And nothing is handed over behind the step that is known to be the last.
    assert verbs(one.runner) == [
        "start prefill",
        "start decode",
        "read prefill",
        "start decode",
        "read decode",
        "start decode",
        "read decode",
        "read decode",
    ]


def test_chunks_of_a_prompt_are_handed_over_ahead(queueing: Engines) -> None:
    one = queueing(max_prefill_tokens=8)
    _, events = one.submit("x" * 20, max_tokens=1)
    events.wait()
    assert events.token_ids == one.expected("x" * 20, 1)
    one.settle()
    assert verbs(one.runner)[:3] == ["start prefill", "start prefill", "read prefill"]


def test_a_runner_that_does_not_ask_for_it_is_read_first(queueing: Engines, fakes: Any) -> None:
    assert isinstance(fakes.QueueingRunner(), QueueingRunner)
    assert isinstance(fakes.Runner(), Runner)
    assert not isinstance(fakes.Runner(), QueueingRunner)

    class Prompt(fakes.QueueingRunner):  # type: ignore[misc, name-defined]
        queues_ahead = False

    from sagellm_core.contract import EngineConfig, GenerationRequest, SamplingParams
    from sagellm_core.engine import LLMEngine

    runner, events = Prompt(), fakes.Events()
    with LLMEngine(fakes.Model(), runner, EngineConfig(max_num_seqs=4)) as engine:
        request = GenerationRequest(
            request_id="r",
            prompt_token_ids=(1, 2),
            sampling=SamplingParams(temperature=0, max_tokens=3, ignore_eos=True),
        )
        engine.submit(request, events)
        events.wait()
    assert verbs(runner) == ["start prefill", "read prefill"] + ["start decode", "read decode"] * 2


def test_what_ends_by_its_own_words_has_one_row_for_nothing(queueing: Engines) -> None:
    one = queueing()
    held: list[int] = []

    def sink(event: Any) -> None:
        if event.last:
            held.append(one.engine.stats().blocks_total - one.engine.stats().blocks_free)
        events(event)

    prompt = next(f"p{n}" for n in range(1000) if len(one.expected(f"p{n}", 30)) in range(5, 30))
    events = one.submit(prompt, max_tokens=30)[1]
    last = events.wait()
    assert last.finish_reason is FinishReason.STOP
    one.settle()
    decodes = verbs(one.runner).count("start decode")
    assert decodes == len(events.token_ids)  # without the one for nothing, one less
    events = type(events)()
    stop = bytes(one.expected(prompt, 3)).decode()
    one.submit(prompt, max_tokens=30, stop=[stop], sink=sink)
    assert events.wait().stop_reason == stop
    one.settle()
    assert verbs(one.runner).count("start decode") == decodes + 3
    # Its blocks are free once the row for nothing was read, and not before.
    assert held[0] > 0


def test_who_shares_a_call_with_an_undefined_slot_is_computed_once_more(queueing: Engines) -> None:
    one = queueing()
    one.runner.refuses_undefined = True
    boom = ValueError("boom")

    def before(name: str, rows: list[Any]) -> None:
        if name == "prefill" and len(rows[0].token_ids) == 3:
            raise boom
        time.sleep(0.001)

    one.runner.before = before
    _, good = one.submit("a good prompt", max_tokens=60, ignore_eos=True)
    good.wait(count=2)
    _, bad = one.submit("bad", max_tokens=60, ignore_eos=True)
    last = bad.wait()
    assert isinstance(last.error, RunnerError)
    assert last.error.__cause__ is boom
    good.wait()
    assert good.token_ids == one.expected("a good prompt", 60, ignore_eos=True)
    assert one.engine.stats().preemptions == 1


def test_what_ran_behind_a_failed_step_counts_for_nothing(queueing: Engines) -> None:
    one = queueing()
    short = [DeviceOutOfMemoryError("short")]

    def before(name: str, rows: list[Any]) -> None:
        if name == "decode" and len(rows) == 2 and short:
            raise short.pop()
        time.sleep(0.001)

    one.runner.before = before
    pending = [one.submit(f"p{n}", max_tokens=40, ignore_eos=True)[1] for n in range(2)]
    for n, events in enumerate(pending):
        events.wait()
        assert events.token_ids == one.expected(f"p{n}", 40, ignore_eos=True)
    assert not short
    assert one.engine.stats().preemptions > 0


def test_nothing_is_handed_over_behind_a_call_that_raised(harness_over: Any, fakes: Any) -> None:
    class Raising(fakes.QueueingRunner):  # type: ignore[misc, name-defined]
        decodes = 0

        def decode(self, rows: Any) -> Any:
            self.decodes += 1
            if self.decodes == 3:
                self.log.append(("raise", "decode", ()))
                raise ValueError("boom")
            return super().decode(rows)

    one = harness_over(Raising)
    assert isinstance(one.submit(ignore_eos=True)[1].wait().error, RunnerError)
    one.settle()
    assert verbs(one.runner)[-3:] == ["read decode", "raise decode", "read decode"]


def test_a_device_that_is_lost_behind_a_failed_step_closes_the_engine(queueing: Engines) -> None:
    one = queueing()

    def before(name: str, rows: list[Any]) -> None:
        if name == "prefill":
            raise ValueError("boom")
        raise DeviceLostError("gone")

    one.runner.before = before
    assert isinstance(one.submit(max_tokens=5)[1].wait().error, RunnerError)
    deadline = time.monotonic() + 10
    while one.runner.closed == 0:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    with pytest.raises(EngineClosedError, match="gone"):
        one.submit(max_tokens=5)


def test_a_deadline_and_a_cancel_while_steps_are_unread(queueing: Engines) -> None:
    one = queueing()
    # Slow enough that both are there when their end comes: 256 tokens take over half a second.
    one.runner.before = lambda name, rows: time.sleep(0.002)
    _, late = one.submit("late", ignore_eos=True, timeout=0.02)
    cancelled, events = one.submit("cancelled", ignore_eos=True)
    events.wait(count=3)
    assert one.engine.cancel(cancelled)
    assert events.wait().finish_reason is FinishReason.CANCELLED
    assert isinstance(late.wait().error, RequestTimeoutError)
    one.settle()


def test_closing_waits_for_what_was_handed_over(queueing: Engines, gate: Any) -> None:
    one = queueing()
    one.runner.before = gate
    _, events = one.submit(ignore_eos=True)
    assert gate.reached.wait(10)
    closer = threading.Thread(target=one.engine.close)
    closer.start()
    gate.open()
    closer.join(10)
    assert isinstance(events.wait().error, EngineClosedError)
    log = verbs(one.runner)
    starts = sum(verb.startswith("start") for verb in log)
    assert starts == len(log) - starts
    assert one.at_baseline()


_requests = st.lists(
    st.tuples(
        st.text("ab", min_size=1, max_size=14),
        st.integers(1, 14),
        st.sampled_from([(), ("a",), ("bc",), ("fe", "da")]),
        st.sampled_from([None, 1, 2]),
        st.integers(-1, 1),
    ),
    min_size=1,
    max_size=9,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    requests=_requests,
    slots=st.integers(1, 4),
    blocks=st.sampled_from([8, 11, 64]),
    budget=st.sampled_from([3, 8, 64]),
    prefix_cache=st.booleans(),
)
def test_answers_are_those_of_an_engine_that_reads_first(
    fakes: Any, requests: Any, slots: int, blocks: int, budget: int, prefix_cache: bool
) -> None:
    def answers(kind: Any) -> list[Any]:
        runner = kind(max_slots=slots, num_blocks=blocks, block_size=4)
        opened = threading.Event()
        runner.before = lambda name, rows: opened.wait(10)
        one = fakes.Harness(runner=runner, max_prefill_tokens=budget, prefix_cache=prefix_cache)
        pending = []
        for prompt, count, stop, seed, priority in requests:
            drawn = {"temperature": 0.0} if seed is None else {"temperature": 1.0, "seed": seed}
            pending.append(
                one.submit(prompt, max_tokens=count, stop=stop, priority=priority, **drawn)[1]
            )
        opened.set()
        ends = [events.wait() for events in pending]
        one.settle()
        one.engine.close()
        return [
            (events.token_ids, events.text, end.finish_reason, end.stop_reason, end.error)
            for events, end in zip(pending, ends, strict=True)
        ]

    assert answers(fakes.QueueingRunner) == answers(fakes.Runner)
