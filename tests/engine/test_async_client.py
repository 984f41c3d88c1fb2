"""The asynchronous client."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import Any

import pytest

from sagellm_core.contract import (
    FinishReason,
    PromptTooLongError,
    RequestTimeoutError,
    RunnerError,
    SamplingParams,
)


def greedy(**settings: Any) -> SamplingParams:
    return SamplingParams(temperature=0, **{"ignore_eos": True, "max_tokens": 8, **settings})


def endless() -> SamplingParams:
    return SamplingParams(temperature=0, ignore_eos=True)


def slow(one: Any) -> None:
    one.runner.before = lambda name, rows: time.sleep(0.005)


PROMPTS = [list(f"prompt {number}".encode()) for number in range(20)]


def test_answers_come_in_the_order_of_the_prompts(harness: Any) -> None:
    one = harness()
    completions = asyncio.run(one.client.agenerate(PROMPTS, greedy(), timeout=20))
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        assert list(completion.token_ids) == one.expected(prompt, 8, ignore_eos=True)


def test_streams_run_side_by_side(harness: Any) -> None:
    one = harness()

    async def read(prompt: list[int]) -> list[int]:
        tokens: list[int] = []
        async for event in one.client.astream(prompt, greedy()):
            tokens += event.token_ids
        return tokens

    async def main() -> list[list[int]]:
        return await asyncio.gather(*map(read, PROMPTS))

    for prompt, tokens in zip(PROMPTS, asyncio.run(main()), strict=True):
        assert tokens == one.expected(prompt, 8, ignore_eos=True)


def test_many_event_loops_at_once(harness: Any) -> None:
    one = harness()
    answers: dict[int, Any] = {}

    def work(number: int) -> None:
        answers[number] = asyncio.run(one.client.agenerate(PROMPTS[number], greedy()))

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for number in range(8):
        expected = one.expected(PROMPTS[number], 8, ignore_eos=True)
        assert list(answers[number][0].token_ids) == expected


def test_the_event_loop_is_free_meanwhile(harness: Any, gate: Any) -> None:
    one = harness()
    one.runner.before = gate

    async def main() -> Any:
        task = asyncio.ensure_future(one.client.agenerate(PROMPTS, greedy()))
        await asyncio.sleep(0.02)
        assert not task.done()
        gate.open()
        return await task

    assert len(asyncio.run(main())) == 20


def test_cancelling_the_task_cancels_a_stream_that_is_still_held(harness: Any) -> None:
    one = harness()
    slow(one)

    async def main() -> None:
        stream = one.client.astream(PROMPTS[0], endless())

        async def read() -> None:
            async for _ in stream:
                pass

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.05)
        while not one.at_baseline():
            await asyncio.sleep(0.005)
        assert [event async for event in stream] == []

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("way", ["agenerate", "astream"])
def test_cancelling_the_task_cancels_the_request(harness: Any, way: str) -> None:
    one = harness()
    slow(one)

    async def read() -> None:
        if way == "agenerate":
            await one.client.agenerate(PROMPTS[:2], endless())
        else:
            async for _ in one.client.astream(PROMPTS[0], endless()):
                pass

    async def main() -> None:
        task = asyncio.ensure_future(read())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    one.settle()
    assert one.engine.stats().generated_tokens < 100


def test_leaving_a_stream_cancels(harness: Any) -> None:
    one = harness()
    slow(one)

    async def main() -> None:
        async for _ in one.client.astream(PROMPTS[0], endless()):
            break
        async with one.client.astream(PROMPTS[1], endless()) as stream:
            await anext(stream)
        stream = one.client.astream(PROMPTS[2], endless())
        await anext(stream)
        await stream.aclose()
        await stream.aclose()
        assert [event async for event in stream] == []

    asyncio.run(main())
    gc.collect()
    one.settle()
    assert one.engine.stats().generated_tokens < 300


@pytest.mark.parametrize("way", ["agenerate", "astream"])
def test_an_event_loop_that_ended_leaves_nothing_behind(harness: Any, way: str) -> None:
    one = harness()
    slow(one)
    kept: list[Any] = []

    async def main() -> None:
        if way == "astream":
            kept.append(one.client.astream(PROMPTS[0], endless()))
            await anext(kept[0])
        else:
            kept.append(asyncio.ensure_future(one.client.agenerate(PROMPTS[:2], endless())))
            await asyncio.sleep(0.02)

    asyncio.run(main())
    one.settle()


@pytest.mark.parametrize("hangs", [True, False])
@pytest.mark.parametrize("way", ["agenerate", "astream"])
def test_a_timeout(harness: Any, gate: Any, way: str, hangs: bool) -> None:
    one = harness()
    if hangs:
        one.runner.before = gate
    else:
        slow(one)

    async def main() -> None:
        if way == "agenerate":
            await one.client.agenerate(PROMPTS[0], endless(), timeout=0.1)
        else:
            async for _ in one.client.astream(PROMPTS[0], endless(), timeout=0.1):
                pass

    started = time.monotonic()
    with pytest.raises(RequestTimeoutError):
        asyncio.run(main())
    assert 0.1 <= time.monotonic() - started < 5
    gate.open()
    one.settle()


def test_errors_are_raised(harness: Any) -> None:
    one = harness()

    async def main() -> None:
        with pytest.raises(PromptTooLongError):
            one.client.astream([1] * 1000, greedy())
        with pytest.raises(PromptTooLongError):
            await one.client.agenerate([PROMPTS[0], [1] * 1000], greedy())
        one.runner.before = lambda name, rows: 1 / 0
        with pytest.raises(RunnerError, match="ZeroDivisionError"):
            async for _ in one.client.astream(PROMPTS[0], greedy()):
                pass
        completions = await one.client.agenerate(
            [PROMPTS[0], [1] * 1000], greedy(), return_errors=True
        )
        assert [type(completion.error) for completion in completions] == [
            RunnerError,
            PromptTooLongError,
        ]

    asyncio.run(main())


def test_more_prompts_than_the_queue_takes(harness: Any) -> None:
    one = harness(max_slots=2, max_waiting=3)
    prompts = [[number + 1] for number in range(60)]
    completions = asyncio.run(one.client.agenerate(prompts, greedy()))
    assert all(completion.finish_reason is FinishReason.LENGTH for completion in completions)


def test_somebody_else_may_cancel(harness: Any) -> None:
    one = harness()
    slow(one)

    async def main() -> Any:
        stream = one.client.astream(PROMPTS[0], endless())
        await anext(stream)
        assert one.engine.cancel(stream.request_id)
        return [event async for event in stream][-1]

    assert asyncio.run(main()).finish_reason is FinishReason.CANCELLED
