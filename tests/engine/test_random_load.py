"""Many requests at once over a cache that is too small for them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sagellm_core.contract import FinishReason

BEGINNINGS = ["", "", "a beginning of some length ", "a beginning of another sort "]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_leaks_and_every_answer_is_the_one_it_gets_alone(
    harness: Any, gate: Any, seed: int
) -> None:
    draw = random.Random(seed)
    one = harness(
        max_waiting=1000,
        max_slots=draw.choice([3, 8]),
        num_blocks=draw.choice([24, 40]),
        block_size=4,
        max_prefill_tokens=draw.choice([5, 16, 200]),
    )
    requests = []
    cancel_at: dict[int, list[str]] = {}
    for number in range(1000):
        # Some begin alike, some are equal, some share nothing.
        prompt = draw.choice(BEGINNINGS) or f"{number} "
        prompt += draw.choice(["", str(number)]) + "p" * draw.randrange(max(1, 40 - len(prompt)))
        settings: dict[str, Any] = {"max_tokens": draw.randrange(1, 45)}
        if draw.random() < 0.4:
            settings["stop"] = ["".join(draw.choices("abcdef", k=draw.choice([1, 2, 3])))]
        if draw.random() < 0.3:
            settings |= {"temperature": 1.0, "seed": draw.randrange(100)}
        cancelled = draw.random() < 0.3
        if cancelled:
            cancel_at.setdefault(draw.randrange(5000), []).append(f"r{number + 1}")
        requests.append((prompt, settings, cancelled, draw.randrange(-1, 2)))

    def cancel(name: str, rows: list[Any]) -> None:
        # In the middle of a step, at the same one in every run of this test.
        for request_id in cancel_at.get(len(one.runner.calls), []):
            one.engine.cancel(request_id)

    one.runner.before = gate
    pending = []
    for prompt, settings, _, priority in requests:
        pending.append(one.submit(prompt, priority=priority, **settings)[1])
    assert gate.reached.wait(10)
    one.runner.before = cancel
    gate.open()
    cancellations = 0
    for (prompt, settings, cancelled, _), events in zip(requests, pending, strict=True):
        last = events.wait(timeout=60)
        assert sum(event.last for event in events.all) == 1
        alone = one.expected(prompt, settings["max_tokens"], **settings)
        assert events.token_ids == alone[: len(events.token_ids)]
        text = bytes(token for token in alone if token < 256).decode()
        stops = [text.find(stop) for stop in settings.get("stop", []) if stop in text]
        if last.finish_reason is FinishReason.CANCELLED:
            assert cancelled
            cancellations += 1
            continue
        assert last.error is None
        assert events.text == (text[: min(stops)] if stops else text)
        assert len(events.token_ids) == len(alone) or stops
        assert last.usage.completion_tokens == len(events.token_ids)
    assert cancellations > 20
    one.settle()
    stats = one.engine.stats()
    assert stats.preemptions > 0
    assert 0 < stats.cache_hit_tokens < stats.cache_query_tokens
    assert stats.finished + stats.cancelled == 1000
    assert one.engine._loop._active == {}
