"""The engine over the kit's runner: shared blocks, small caches, and answers as when alone."""

from __future__ import annotations

import random
import threading
import time

import pytest
from sagellm_torch import open_runner

from sagellm_core.contract import (
    EngineConfig,
    FinishReason,
    GenerationRequest,
    SamplingParams,
    TokenEvent,
)
from sagellm_core.engine import EngineClient, LLMEngine
from sagellm_core.engine.limits import runner_config


@pytest.fixture(scope="module")
def model(tiny_model, load):
    return load(tiny_model("llama").path)


def open_engine(model, **limits) -> LLMEngine:
    config = EngineConfig(max_model_len=128, **limits)
    return LLMEngine(
        model, open_runner(model, runner_config(model, config)), config, own_model=False
    )


def greedy(count: int) -> SamplingParams:
    return SamplingParams(temperature=0, max_tokens=count, ignore_eos=True)


def random_tokens(draw: random.Random, count: int) -> list[int]:
    return [draw.randrange(3, 199) for _ in range(count)]


def test_answers_over_cached_blocks_are_those_of_the_model(tiny_model, model) -> None:
    tiny = tiny_model("llama")
    draw = random.Random(3)
    beginning = random_tokens(draw, 37)
    with open_engine(model, block_size=8, max_prefill_tokens=16) as engine:
        client = EngineClient(engine)
        for turn in range(4):
            prompt = beginning + random_tokens(draw, 3 + turn)
            (answer,) = client.generate(prompt, greedy(12))
            assert list(answer.token_ids) == tiny.greedy(prompt, 12)
            assert answer.usage.cached_tokens == (32 if turn else 0)
            follow_up = prompt + list(answer.token_ids) + random_tokens(draw, 2)
            (next_answer,) = client.generate(follow_up, greedy(6))
            assert list(next_answer.token_ids) == tiny.greedy(follow_up, 6)
            assert next_answer.usage.cached_tokens == (len(prompt) + 11) // 8 * 8


def test_samples_of_one_prompt_share_it(tiny_model, model) -> None:
    prompt = random_tokens(random.Random(4), 50)
    with open_engine(model, block_size=8) as engine:
        client = EngineClient(engine)
        answers = client.generate(prompt, greedy(8), n=4)
        assert {answer.token_ids for answer in answers} == {
            tuple(tiny_model("llama").greedy(prompt, 8))
        }
        assert [answer.usage.cached_tokens for answer in answers] == [0, 48, 48, 48]
        drawn = client.generate(prompt, SamplingParams(seed=7, max_tokens=8), n=3)
        (alone,) = client.generate(prompt, SamplingParams(seed=7, max_tokens=8))
        assert drawn[0].token_ids == alone.token_ids
        assert len({answer.token_ids for answer in drawn}) == 3


def test_keys_that_depend_on_the_length_are_not_shared(tiny_model, load) -> None:
    scaling = {
        "rope_type": "longrope",
        "short_factor": [1.0] * 8,
        "long_factor": [2.0] * 8,
        "original_max_position_embeddings": 32,
        "rope_theta": 10000.0,
    }
    tiny = tiny_model(
        "phi3", rope_parameters=scaling, max_position_embeddings=128,
        original_max_position_embeddings=32,
    )  # fmt: skip
    model = load(tiny.path)
    prompt = random_tokens(random.Random(5), 20)
    with open_engine(model, block_size=4) as engine:
        first, second = EngineClient(engine).generate([prompt, prompt], greedy(20))
        assert first.token_ids == second.token_ids
        assert second.usage.cached_tokens == 0
        assert engine.stats().blocks_idle == 0


def test_random_load_over_a_small_cache_gives_each_its_own_answer(model) -> None:
    draw = random.Random(11)
    beginnings = [[], random_tokens(draw, 20), random_tokens(draw, 33)]
    requests = []
    for number in range(100):
        prompt = draw.choice(beginnings) + random_tokens(draw, draw.randrange(1, 12))
        requests.append((prompt, draw.randrange(1, 20), draw.randrange(-1, 2), number % 5 == 0))
    with open_engine(model, block_size=4, max_num_seqs=2, prefix_cache=False) as engine:
        client = EngineClient(engine)
        alone = [
            client.generate(prompt, greedy(count))[0].token_ids for prompt, count, _, _ in requests
        ]
    got: list[list[int]] = [[] for _ in requests]
    ends: list[TokenEvent | None] = [None] * len(requests)
    over = threading.Semaphore(0)
    with open_engine(
        model, block_size=4, max_num_seqs=8, num_blocks=40, max_prefill_tokens=24
    ) as engine:

        def sink(number: int):
            def take(event: TokenEvent) -> None:
                got[number].extend(event.token_ids)
                if requests[number][3] and len(got[number]) == 3:
                    engine.cancel(event.request_id)
                if event.last:
                    ends[number] = event
                    over.release()

            return take

        for number, (prompt, count, priority, _) in enumerate(requests):
            engine.submit(
                GenerationRequest(
                    request_id=str(number),
                    prompt_token_ids=tuple(prompt),
                    sampling=greedy(count),
                    priority=priority,
                ),
                sink(number),
            )
        for _ in requests:
            assert over.acquire(timeout=60)
        for number, (_, count, _, cancelled) in enumerate(requests):
            end = ends[number]
            assert end is not None
            assert end.error is None
            assert tuple(got[number]) == alone[number][: len(got[number])]
            if cancelled and count > 3:
                assert end.finish_reason is FinishReason.CANCELLED
            else:
                assert len(got[number]) == count
        deadline = time.monotonic() + 10
        while engine.stats().blocks_free < 40:
            assert time.monotonic() < deadline
        stats = engine.stats()
        assert stats.preemptions > 0
        assert stats.cache_hit_tokens > 500
