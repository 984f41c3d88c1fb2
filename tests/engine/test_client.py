"""The synchronous client, over core's engine and over a vendor's."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sagellm_core.contract import (
    EngineClosedError,
    FinishReason,
    GenerationRequest,
    InvalidRequestError,
    OverloadedError,
    PromptTooLongError,
    RequestTimeoutError,
    RunnerError,
    SamplingParams,
    TokenEvent,
)
from sagellm_core.engine import EngineClient


def greedy(**settings: Any) -> SamplingParams:
    return SamplingParams(temperature=0, **{"ignore_eos": True, "max_tokens": 8, **settings})


def endless(**settings: Any) -> SamplingParams:
    return SamplingParams(temperature=0, ignore_eos=True, **settings)


def slow(one: Any, seconds: float = 0.005) -> None:
    one.runner.before = lambda name, rows: time.sleep(seconds)


PROMPTS = [list(f"prompt {number}".encode()) for number in range(20)]


def test_answers_come_in_the_order_of_the_prompts(harness: Any) -> None:
    one = harness()
    completions = one.client.generate(PROMPTS, greedy())
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        assert list(completion.token_ids) == one.expected(prompt, 8, ignore_eos=True)
        assert completion.text == bytes(completion.token_ids).decode()
        assert completion.finish_reason is FinishReason.LENGTH
        assert completion.usage is not None
        assert completion.usage.prompt_tokens == len(prompt)
        assert completion.timings is not None
        assert completion.error is None


def test_core_s_engine_has_the_calls_itself(harness: Any) -> None:
    one = harness()
    expected = one.expected(PROMPTS[0], 8, ignore_eos=True)
    (completion,) = one.engine.generate(PROMPTS[0], greedy())
    assert list(completion.token_ids) == expected
    with one.engine.stream(PROMPTS[0], greedy()) as events:
        assert [token for event in events for token in event.token_ids] == expected

    async def both() -> tuple[list[int], list[int]]:
        (found,) = await one.engine.agenerate(PROMPTS[0], greedy())
        async with one.engine.astream(PROMPTS[0], greedy()) as events:
            return list(found.token_ids), [t async for event in events for t in event.token_ids]

    assert asyncio.run(both()) == (expected, expected)


def test_one_prompt_as_a_plain_list(harness: Any) -> None:
    one = harness()
    (completion,) = one.client.generate(PROMPTS[0], greedy())
    assert list(completion.token_ids) == one.expected(PROMPTS[0], 8, ignore_eos=True)


@pytest.mark.parametrize("prompts", [None, 5, [1.5], [[1], 2], [None], object()])
def test_what_is_no_list_of_token_ids(harness: Any, prompts: Any) -> None:
    with pytest.raises(InvalidRequestError, match="list of token ids"):
        harness().client.generate(prompts, greedy())


def test_no_prompts_no_answers(harness: Any) -> None:
    assert harness().client.generate([], greedy()) == []


def test_a_setting_for_each_prompt(harness: Any) -> None:
    one = harness()
    settings = [greedy(max_tokens=count) for count in (1, 5, 3)]
    completions = one.client.generate(PROMPTS[:3], settings)
    assert [len(completion.token_ids) for completion in completions] == [1, 5, 3]
    with pytest.raises(InvalidRequestError, match="2 prompts and 3"):
        one.client.generate(PROMPTS[:2], settings)


def test_logprobs_are_gathered(harness: Any) -> None:
    (completion,) = harness().client.generate(PROMPTS[0], greedy(logprobs=0))
    assert completion.logprobs is not None
    assert [entry.token_id for entry in completion.logprobs] == list(completion.token_ids)


def test_a_failing_prompt_cancels_the_others_and_raises(harness: Any) -> None:
    one = harness()
    slow(one)
    too_long = [1] * 1000
    with pytest.raises(PromptTooLongError):
        one.client.generate([PROMPTS[0], too_long, PROMPTS[1]], endless())
    one.settle()
    assert one.engine.stats().generated_tokens < 100


def test_a_prompt_that_fails_on_the_way_cancels_the_others(harness: Any) -> None:
    one = harness()

    def before(name: str, rows: list[Any]) -> None:
        time.sleep(0.002)
        if name == "prefill" and any(len(row.token_ids) == 13 for row in rows):
            raise ValueError("unlucky")

    one.runner.before = before
    with pytest.raises(RunnerError, match="unlucky"):
        one.client.generate([PROMPTS[0], [1] * 13], endless())
    one.settle()


def test_errors_are_kept_in_their_places(harness: Any) -> None:
    one = harness()
    completions = one.client.generate(
        [PROMPTS[0], [1] * 1000, [], PROMPTS[1]], greedy(), return_errors=True
    )
    errors = [type(completion.error).__name__ for completion in completions]
    assert errors == ["NoneType", "PromptTooLongError", "EmptyPromptError", "NoneType"]
    assert completions[1].finish_reason is None
    assert len(completions[3].token_ids) == 8


def test_more_prompts_than_the_queue_takes(harness: Any) -> None:
    one = harness(max_slots=2, max_waiting=3)
    completions = one.client.generate([[number + 1] for number in range(100)], greedy())
    for number, completion in enumerate(completions):
        assert list(completion.token_ids) == one.expected([number + 1], 8, ignore_eos=True)


def test_a_queue_filled_by_others_is_an_error(harness: Any, gate: Any) -> None:
    one = harness(max_slots=1, max_waiting=1)
    one.runner.before = gate
    pending = [one.submit(max_tokens=1)[1] for _ in range(2)]
    with pytest.raises(OverloadedError):
        one.client.generate(PROMPTS[:2], greedy())
    gate.open()
    for events in pending:
        events.wait()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "5", True])
def test_a_senseless_timeout_is_refused(harness: Any, timeout: Any) -> None:
    with pytest.raises(InvalidRequestError, match="timeout"):
        harness().client.generate(PROMPTS[0], greedy(), timeout=timeout)


@pytest.mark.parametrize("timeout", [1e12, float("inf"), None])
def test_a_very_long_timeout_is_none(harness: Any, timeout: Any) -> None:
    assert len(harness().client.generate(PROMPTS, greedy(), timeout=timeout)) == 20


def test_a_timeout_ends_the_request(harness: Any) -> None:
    one = harness()
    slow(one)
    started = time.monotonic()
    with pytest.raises(RequestTimeoutError):
        one.client.generate(PROMPTS[:2], endless(), timeout=0.1)
    assert time.monotonic() - started < 5
    one.settle()


def test_a_timeout_with_errors_kept_keeps_what_came(harness: Any) -> None:
    one = harness()
    slow(one)
    completions = one.client.generate(
        [PROMPTS[0], PROMPTS[1]], [greedy(max_tokens=2), endless()], timeout=0.2, return_errors=True
    )
    assert completions[0].error is None
    assert isinstance(completions[1].error, RequestTimeoutError)
    assert len(completions[1].token_ids) > 2


@pytest.mark.parametrize("way", ["generate", "errors", "stream"])
def test_a_step_that_hangs_does_not_hang_the_caller(harness: Any, gate: Any, way: str) -> None:
    one = harness()
    one.runner.before = gate
    started = time.monotonic()
    if way == "errors":
        (completion,) = one.client.generate(PROMPTS[0], greedy(), timeout=0.1, return_errors=True)
        assert isinstance(completion.error, RequestTimeoutError)
    else:
        call = one.client.generate if way == "generate" else one.client.stream
        with pytest.raises(RequestTimeoutError):
            list(call(PROMPTS[0], greedy(), timeout=0.1))
    assert 0.1 <= time.monotonic() - started < 5
    gate.open()
    one.settle()
    assert one.engine.stats().generated_tokens == 0


def test_somebody_else_may_cancel(harness: Any) -> None:
    one = harness()
    slow(one)
    stream = one.client.stream(PROMPTS[0], endless())
    next(stream)
    assert one.engine.cancel(stream.request_id)
    events = list(stream)
    assert events[-1].finish_reason is FinishReason.CANCELLED


def test_closing_the_engine_ends_the_wait(harness: Any) -> None:
    one = harness()
    slow(one)
    threading.Timer(0.05, one.engine.close).start()
    with pytest.raises(EngineClosedError):
        one.client.generate(PROMPTS, endless())
    one.engine.close()


# --- stream ---


def test_a_stream_has_every_event(harness: Any) -> None:
    one = harness()
    events = list(one.client.stream(PROMPTS[0], greedy()))
    assert [token for event in events for token in event.token_ids] == one.expected(
        PROMPTS[0], 8, ignore_eos=True
    )
    assert [event.last for event in events] == [False] * 7 + [True]


def test_an_ended_stream_stays_ended(harness: Any) -> None:
    stream = harness().client.stream(PROMPTS[0], greedy())
    list(stream)
    assert list(stream) == []
    stream.close()


def test_a_request_that_can_never_run_fails_at_once(harness: Any) -> None:
    with pytest.raises(PromptTooLongError):
        harness().client.stream([1] * 1000, greedy())


def leave_by_close(client: EngineClient) -> None:
    stream = client.stream(PROMPTS[0], endless())
    next(stream)
    stream.close()
    stream.close()
    assert list(stream) == []


def leave_by_with(client: EngineClient) -> None:
    with client.stream(PROMPTS[0], endless()) as stream:
        next(stream)


def leave_by_break(client: EngineClient) -> None:
    for _ in client.stream(PROMPTS[0], endless()):
        break


def leave_before_the_first(client: EngineClient) -> None:
    client.stream(PROMPTS[0], endless())


@pytest.mark.parametrize(
    "leave", [leave_by_close, leave_by_with, leave_by_break, leave_before_the_first]
)
def test_leaving_a_stream_cancels(harness: Any, leave: Callable[[EngineClient], None]) -> None:
    one = harness()
    slow(one)
    leave(one.client)
    gc.collect()
    one.settle()
    assert one.engine.stats().generated_tokens < 100


def test_an_error_is_raised_from_the_stream(harness: Any) -> None:
    one = harness()

    def before(name: str, rows: list[Any]) -> None:
        if len(one.runner.calls) == 4:
            raise ValueError("boom")

    one.runner.before = before
    stream = one.client.stream(PROMPTS[0], endless())
    for _ in range(3):
        next(stream)
    with pytest.raises(RunnerError, match="boom"):
        next(stream)
    assert list(stream) == []


def test_many_threads_at_once(harness: Any) -> None:
    one = harness(num_blocks=32)
    answers: dict[int, list[int]] = {}

    def work(number: int) -> None:
        stream = one.client.stream(PROMPTS[number], greedy())
        answers[number] = [token for event in stream for token in event.token_ids]

    threads = [threading.Thread(target=work, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for number, prompt in enumerate(PROMPTS):
        assert answers[number] == one.expected(prompt, 8, ignore_eos=True)


# --- a vendor's engine ---


class VendorEngine:
    """An engine of another make: several tokens an event, and it knows no deadlines."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    def submit(self, request: GenerationRequest, sink: Callable[[TokenEvent], None]) -> None:
        count = request.sampling.max_tokens

        def run() -> None:
            if count is None:
                return  # it never answers
            name = request.request_id
            sink(TokenEvent(request_id=name, token_ids=tuple(range(count)), text="x" * count))
            sink(TokenEvent(request_id=name, finish_reason=FinishReason.LENGTH))

        threading.Thread(target=run).start()

    def cancel(self, request_id: str) -> bool:
        self.cancelled.append(request_id)
        return True


def test_a_vendors_engine_serves_as_well() -> None:
    client = EngineClient(VendorEngine())  # type: ignore[arg-type]
    completions = client.generate([[1], [2]], [greedy(max_tokens=3), greedy(max_tokens=1)])
    assert [completion.token_ids for completion in completions] == [(0, 1, 2), (0,)]
    assert completions[0].text == "xxx"
    assert completions[0].usage is None


def test_a_vendors_engine_is_not_waited_for_beyond_the_deadline() -> None:
    engine = VendorEngine()
    client = EngineClient(engine)  # type: ignore[arg-type]
    with pytest.raises(RequestTimeoutError):
        client.generate([1], endless(), timeout=0.05)
    stream = client.stream([1], endless(), timeout=0.05)
    with pytest.raises(RequestTimeoutError):
        next(stream)
    assert len(set(engine.cancelled)) == 2


def test_ten_thousand_prompts_at_once(harness: Any) -> None:
    one = harness(max_slots=64, num_blocks=1024, block_size=16)
    prompts = [[number % 256, number // 256, 7] for number in range(10_000)]
    answers = one.client.generate(prompts, greedy(max_tokens=2))
    assert all(len(answer.token_ids) == 2 for answer in answers)
    for number in (0, 4_999, 9_999):
        expected = one.expected(prompts[number], 2, ignore_eos=True)
        assert list(answers[number].token_ids) == expected
    assert one.engine.stats().finished == 10_000
