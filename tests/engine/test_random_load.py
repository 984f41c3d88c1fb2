"""Many requests at once over a cache that is too small for them."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from sagellm_core.contract import FinishReason


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_leaks_and_every_answer_is_the_one_it_gets_alone(harness: Any, seed: int) -> None:
    draw = random.Random(seed)
    one = harness(
        max_slots=draw.choice([3, 8]),
        num_blocks=draw.choice([24, 40]),
        block_size=4,
        max_prefill_tokens=draw.choice([5, 16, 200]),
    )
    requests = []
    for number in range(300):
        prompt = f"{number} " + "p" * draw.randrange(40)
        settings: dict[str, Any] = {"max_tokens": draw.randrange(1, 45)}
        if draw.random() < 0.4:
            settings["stop"] = ["".join(draw.choices("abcdef", k=draw.choice([1, 2, 3])))]
        if draw.random() < 0.3:
            settings |= {"temperature": 1.0, "seed": draw.randrange(100)}
        requests.append((prompt, settings, draw.random() < 0.3, draw.randrange(-1, 2)))
    pending = []
    threads = []
    for prompt, settings, cancel, priority in requests:
        request_id, events = one.submit(prompt, priority=priority, **settings)
        pending.append(events)
        if cancel:
            delay = draw.random() * 0.02
            threads.append(threading.Timer(delay, one.engine.cancel, [request_id]))
            threads[-1].start()
    for (prompt, settings, cancel, _), events in zip(requests, pending, strict=True):
        last = events.wait(timeout=60)
        assert sum(event.last for event in events.all) == 1
        alone = one.expected(prompt, settings["max_tokens"], **settings)
        assert events.token_ids == alone[: len(events.token_ids)]
        text = bytes(token for token in alone if token < 256).decode()
        stops = [text.find(stop) for stop in settings.get("stop", []) if stop in text]
        if last.finish_reason is FinishReason.CANCELLED:
            assert cancel
            continue
        assert last.error is None
        assert events.text == (text[: min(stops)] if stops else text)
        assert len(events.token_ids) == len(alone) or stops
        assert last.usage.completion_tokens == len(events.token_ids)
    for thread in threads:
        thread.join()
    one.settle()
    assert one.engine.stats().preemptions > 0
    assert one.engine._loop._active == {}
