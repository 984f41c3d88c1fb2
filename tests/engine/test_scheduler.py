"""What is computed when, and who gives way."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sagellm_core.contract import FinishReason, GenerationRequest, SamplingParams
from sagellm_core.engine.placement import Placement
from sagellm_core.engine.request import RequestState
from sagellm_core.engine.scheduler import Plan, Scheduler
from sagellm_core.engine.waiting import WaitingQueue


def state(number: int, length: int, *, priority: int = 0) -> RequestState:
    sampling = SamplingParams(temperature=0, seed=0)
    request = GenerationRequest(
        request_id=str(number),
        prompt_token_ids=tuple(range(1, length + 1)),
        sampling=sampling,
        priority=priority,
    )
    return RequestState(
        request,
        lambda event: None,
        sampling=sampling,
        eos_ids=frozenset(),
        max_new=1000,
        detokenizer=None,
        arrived=0.0,
        number=number,
    )


def scheduler(
    blocks: int = 100, slots: int = 8, budget: int = 16, share: bool = False
) -> Scheduler:
    placement = Placement(blocks, 4, share=share)
    return Scheduler(placement, max_running=slots, max_prefill_tokens=budget)


def compute(one: Scheduler, plan: Plan) -> None:
    """What the loop does with a step that went well."""
    for each in plan.decodes:
        each.settled += 1
        each.accept(9)
    for each, row in zip(plan.prefills, plan.prefill_rows, strict=True):
        one.settle(each, len(row.token_ids))
        if row.sample:
            each.accept(9)


def chunks(plan: Plan) -> list[tuple[str, int, int, bool]]:
    return [
        (each.request_id, row.start, len(row.token_ids), row.sample)
        for each, row in zip(plan.prefills, plan.prefill_rows, strict=True)
    ]


def test_a_long_prompt_is_cut_and_short_ones_are_packed() -> None:
    one = scheduler()
    for number, length in enumerate([40, 3, 5, 4]):
        one.add(state(number, length))
    seen = []
    for _ in range(4):
        plan = one.schedule(0.0)
        seen.append(chunks(plan))
        compute(one, plan)
    assert seen == [
        [("0", 0, 8, False), ("1", 0, 3, True), ("2", 0, 1, False), ("3", 0, 4, True)],
        [("0", 8, 10, False), ("2", 1, 4, True)],
        [("0", 18, 13, False)],
        [("0", 31, 9, True)],
    ]


def test_a_long_prefill_does_not_stall_those_who_decode() -> None:
    one = scheduler()
    one.add(state(0, 4))
    compute(one, one.schedule(0.0))
    one.add(state(1, 200))
    for _ in range(12):
        plan = one.schedule(0.0)
        assert [each.request_id for each in plan.decodes] == ["0"]
        assert sum(len(row.token_ids) for row in plan.prefill_rows) == 15  # and one decoded
        compute(one, plan)


def test_only_the_first_chunk_begins_and_only_the_last_samples() -> None:
    one = scheduler()
    one.add(state(0, 40))
    rows = []
    for _ in range(3):
        plan = one.schedule(0.0)
        rows += plan.prefill_rows
        compute(one, plan)
    assert [row.begin is not None for row in rows] == [True, False, False]
    assert [row.sample for row in rows] == [False, False, True]
    assert rows[0].begin is not None
    assert rows[0].begin.prompt_len == 40
    assert [token for row in rows for token in row.token_ids] == list(range(1, 41))
    assert [len(row.new_blocks) for row in rows] == [4, 4, 2]


def test_blocks_are_taken_as_the_sequence_grows() -> None:
    one = scheduler()
    one.add(state(0, 7))
    compute(one, one.schedule(0.0))
    taken = []
    for _ in range(6):
        plan = one.schedule(0.0)
        taken.append(len(plan.decode_rows[0].new_blocks))
        compute(one, plan)
    assert taken == [0, 1, 0, 0, 0, 1]
    assert one.pool.used_count == 4


def test_priority_then_arrival() -> None:
    one = scheduler(slots=2)
    for number, priority in enumerate([5, 0, 5, -1, 0]):
        one.add(state(number, 4, priority=priority))
    order = []
    while one.has_work:
        plan = one.schedule(0.0)
        compute(one, plan)
        for each in plan.prefills:
            order.append(each.request_id)
            each.ended = True
            one.remove(each)
    assert order == ["3", "1", "4", "0", "2"]


def test_nobody_overtakes_who_waits_for_blocks() -> None:
    one = scheduler(blocks=10, budget=100)
    one.add(state(0, 20))
    compute(one, one.schedule(0.0))
    one.add(state(1, 24))
    one.add(state(2, 4))
    plan = one.schedule(0.0)
    assert plan.prefills == []
    assert one.starved
    assert len(one.waiting) == 2


def test_who_ended_in_the_queue_is_passed_over() -> None:
    one = scheduler(slots=1)
    states = [state(number, 4) for number in range(4)]
    for each in states:
        one.add(each)
    for each in states[:3]:
        each.ended = True
        one.remove(each)
    plan = one.schedule(0.0)
    assert plan.prefills == [states[3]]


def test_blocks_that_a_long_prefill_will_need_are_spoken_for() -> None:
    one = scheduler(blocks=10, budget=8)
    one.add(state(0, 36))
    compute(one, one.schedule(0.0))
    one.add(state(1, 8, priority=-1))
    for _ in range(3):
        plan = one.schedule(0.0)
        assert [each.request_id for each in plan.prefills] == ["0"]
        compute(one, plan)
    assert chunks(one.schedule(0.0)) == [("0", 32, 4, True)]


def test_the_youngest_of_the_lowest_priority_gives_way() -> None:
    one = scheduler(blocks=6, budget=100)
    states = [state(0, 7), state(1, 7, priority=1), state(2, 7)]
    for each in states:
        one.add(each)
    compute(one, one.schedule(0.0))  # each has two blocks of four tokens, all six are used
    compute(one, one.schedule(0.0))
    plan = one.schedule(0.0)
    assert [each.request_id for each in plan.decodes] == ["0", "2"]
    assert one.preemptions == 1
    assert one.waiting.head() is states[1]
    assert (states[1].blocks, states[1].slot, states[1].cached) == ([], -1, 0)


def test_who_gave_way_begins_anew_with_prompt_and_output() -> None:
    one = scheduler(blocks=6, budget=100)
    states = [state(number, 7) for number in range(3)]
    for each in states:
        one.add(each)
    compute(one, one.schedule(0.0))
    compute(one, one.schedule(0.0))
    compute(one, one.schedule(0.0))
    assert states[2].slot == -1
    for each in states[:2]:
        each.ended = True
        one.remove(each)
    plan = one.schedule(0.0)
    (row,) = plan.prefill_rows
    assert plan.prefills == [states[2]]
    assert list(row.token_ids) == [*range(1, 8), 9, 9]
    assert row.begin is not None
    assert row.begin.prompt_len == 7


def test_a_request_that_ends_while_a_step_is_unread_keeps_its_blocks_until_then() -> None:
    one = scheduler(slots=1, share=True)
    first, second = state(0, 6), state(1, 4)
    one.add(first)
    one.add(second)
    compute(one, one.schedule(0.0))
    unread = one.schedule(0.0)
    ahead = one.schedule(0.0, ahead=True)
    first.ended = True
    one.remove(first)
    assert (one.running_count, one.pool.used_count) == (0, 2)
    # Its slot is taken, though it does not run.
    assert one.schedule(0.0, ahead=True).prefills == []
    for plan in (unread, ahead):
        assert plan.decodes == [first]
        first.settled += 1
        one.release(first)
    assert (first.slot, one.pool.used_count) == (-1, 0)
    # Two blocks are full, but of the second one a token was never read.
    assert one.pool.idle_count == 1
    assert one.schedule(0.0).prefills == [second]


def test_after_memory_ran_out_one_more_runs_every_32_calm_steps() -> None:
    one = scheduler(slots=4, budget=100)
    for number in range(4):
        one.add(state(number, 4))
    compute(one, one.schedule(0.0))
    one.throttle(2)
    widths = []
    for _ in range(70):
        compute(one, one.schedule(0.0))
        one.calm()
        widths.append(one.running_count)
    assert (widths[0], widths[30], widths[40], widths[-1]) == (2, 2, 3, 4)


def test_ended_requests_do_not_pile_up_in_the_queue() -> None:
    queue = WaitingQueue()
    states = [state(number, 1) for number in range(1000)]
    for each in states:
        queue.push(each)
    for each in states[1:]:
        each.ended = True
        queue.forget()
    assert len(queue) == 1
    assert len(queue._heap) < 100
    assert queue.pop() is states[0]
    assert queue.head() is None


def test_who_was_admitted_and_has_not_begun_makes_way() -> None:
    one = scheduler(slots=2, budget=4)
    one.add(state(0, 40))
    one.add(state(1, 40))
    compute(one, one.schedule(0.0))
    urgent = state(2, 4, priority=-1)
    one.add(urgent)
    plan = one.schedule(0.0)
    assert plan.prefills == [urgent]
    assert (len(one.waiting), one.preemptions) == (1, 0)


def test_a_prompt_that_begins_alike_waits_and_then_shares() -> None:
    one = scheduler(budget=8, share=True)
    for number, length in enumerate([20, 18, 22]):
        one.add(state(number, length))
    seen = []
    while any(each.prefill_left > 1 for each in one.prefilling) or one.waiting:
        plan = one.schedule(0.0)
        seen.append([(name, start, size) for name, start, size, _ in chunks(plan)])
        compute(one, plan)
    assert seen[:2] == [[("0", 0, 8)], [("0", 8, 8)]]
    assert sorted(row for step in seen[2:] for row in step)[:2] == [("0", 16, 4), ("1", 16, 2)]
    assert one.placement.found_tokens >= 16


# --- through the engine --------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1, 3, 7, 64, 512])
def test_chunks_do_not_change_the_answer(harness: Any, budget: int) -> None:
    one = harness(max_prefill_tokens=budget)
    prompts = ["x" * 50, "short", "y" * 23]
    pending = [one.submit(prompt, max_tokens=20, ignore_eos=True)[1] for prompt in prompts]
    for prompt, events in zip(prompts, pending, strict=True):
        events.wait()
        assert events.token_ids == one.expected(prompt, 20, ignore_eos=True)
    for name, rows in one.runner.calls:
        if name == "prefill":
            assert sum(len(row.token_ids) for row in rows) <= budget


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "seed": 3}])
def test_giving_way_does_not_change_the_answer(harness: Any, gate: Any, settings: Any) -> None:
    one = harness(max_slots=4, num_blocks=16, block_size=4)
    one.runner.before = gate
    settings = {"ignore_eos": True, **settings}
    prompts = [f"prompt {number}" for number in range(6)]
    pending = [one.submit(prompt, max_tokens=40, **settings)[1] for prompt in prompts]
    gate.open()
    for prompt, events in zip(prompts, pending, strict=True):
        assert events.wait().finish_reason is FinishReason.LENGTH
        assert events.token_ids == one.expected(prompt, 40, **settings)
    assert one.engine.stats().preemptions > 0
    one.settle()


def test_a_request_that_gave_way_can_be_cancelled_in_the_queue(harness: Any, gate: Any) -> None:
    one = harness(max_slots=2, num_blocks=6, block_size=4)
    one.runner.before = gate
    _, first = one.submit("first", max_tokens=18, ignore_eos=True)
    second_id, second = one.submit("second", max_tokens=18, ignore_eos=True)

    def cancel(name: str, rows: list[Any]) -> None:
        if one.engine.stats().preemptions:
            one.engine.cancel(second_id)

    assert gate.reached.wait(10)
    one.runner.before = cancel
    gate.open()
    assert second.wait().finish_reason is FinishReason.CANCELLED
    assert first.wait().finish_reason is FinishReason.LENGTH
    one.settle()


def test_a_more_urgent_request_runs_first(harness: Any, gate: Any) -> None:
    one = harness(max_slots=1)
    one.runner.before = gate
    ended: list[str] = []
    events = []
    one.submit(max_tokens=1)
    assert gate.reached.wait(10)
    for request_id, priority in (("b1", 2), ("a", -1), ("b2", 2), ("c", 0)):
        sink = SinkThatNotes(ended)
        events.append(sink)
        one.submit(request_id=request_id, priority=priority, max_tokens=1, sink=sink)
    gate.open()
    one.settle()
    assert ended == ["a", "c", "b1", "b2"]


class SinkThatNotes:
    def __init__(self, ended: list[str]) -> None:
        self._ended = ended

    def __call__(self, event: Any) -> None:
        if event.last:
            self._ended.append(event.request_id)


def test_stats_count(harness: Any, gate: Any) -> None:
    one = harness(max_slots=2)
    one.runner.before = gate
    pending = [one.submit("abcd", max_tokens=3, ignore_eos=True)[1] for _ in range(5)]
    assert gate.reached.wait(10)
    deadline = time.monotonic() + 5
    while one.engine.stats().waiting + one.engine.stats().running < 5:
        assert time.monotonic() < deadline
    gate.open()
    for events in pending:
        events.wait()
    one.settle()
    stats = one.engine.stats()
    assert (stats.prompt_tokens, stats.generated_tokens) == (20, 15)
    assert (stats.blocks_total, stats.blocks_free) == (64, 64)
    assert (stats.finished, stats.cancelled, stats.failed) == (5, 0, 0)
    assert (stats.queue.count, stats.ttft.count, stats.tpot.count) == (5, 5, 5)
    assert stats.ttft.mean_s is not None
    assert 0 < stats.ttft.mean_s <= stats.ttft.longest_s
    assert stats.queue.total_s <= stats.ttft.total_s


def test_stats_count_how_requests_ended(harness: Any) -> None:
    one = harness()
    started = one.engine.stats()
    assert started.tpot.mean_s is None

    def fail(name: str, rows: list[Any]) -> None:
        raise ValueError("no")

    one.runner.before = fail
    _, failed = one.submit(max_tokens=3)
    failed.wait()
    one.runner.before = lambda name, rows: time.sleep(0.002)
    request_id, cancelled = one.submit(ignore_eos=True)
    cancelled.wait(1)
    one.engine.cancel(request_id)
    cancelled.wait()
    _, late = one.submit(ignore_eos=True, timeout=0.02)
    late.wait()
    one.settle()
    stats = one.engine.stats()
    assert (stats.finished, stats.cancelled, stats.failed) == (0, 1, 2)
