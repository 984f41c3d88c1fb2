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


class Ahead:
    """The kit's runner, on a device that wants its steps queued."""

    queues_ahead = True

    def __init__(self, runner) -> None:
        self._runner = runner
        self.capacity, self.max_slots = runner.capacity, runner.max_slots
        self.prefill, self.decode, self.close = runner.prefill, runner.decode, runner.close


class Letters:
    """A tokenizer for a model that came without one: each token is a letter."""

    vocab_size = 199
    has_chat_template = False

    def decode(self, token_ids, *, skip_special_tokens=True) -> str:
        return "".join(chr(ord("a") + token % 26) for token in token_ids)


class LetteredModel:
    """The model with text, and without an end of its own."""

    eos_token_ids: frozenset[int] = frozenset()
    tokenizer = Letters()

    def __init__(self, model) -> None:
        self.description, self.max_model_len = model.description, model.max_model_len


@pytest.fixture(scope="module")
def alone(model) -> dict[tuple[int, ...], list[int]]:
    """Prompts, some of which begin alike, and the answer that each gets by itself."""
    draw = random.Random(11)
    beginnings = [[], random_tokens(draw, 20), random_tokens(draw, 33)]
    prompts = [
        draw.choice(beginnings) + random_tokens(draw, draw.randrange(1, 12)) for _ in range(60)
    ]
    answers = {}
    with open_engine(model, block_size=4, max_num_seqs=1, prefix_cache=False) as engine:
        for prompt in prompts:
            (answer,) = EngineClient(engine).generate(prompt, greedy(20))
            answers[tuple(prompt)] = list(answer.token_ids)
    return answers


@pytest.mark.parametrize("ahead", [False, True], ids=["plain", "ahead"])
def test_a_thousand_requests_over_a_small_cache_get_their_own_answers(
    model, alone, ahead: bool
) -> None:
    draw = random.Random(12)
    config = EngineConfig(
        max_model_len=128, block_size=4, max_num_seqs=8, num_blocks=40, max_prefill_tokens=24
    )
    runner = open_runner(model, runner_config(model, config))
    got: list[list[TokenEvent]] = [[] for _ in range(1000)]
    over = threading.Semaphore(0)
    requests = []
    for _ in range(1000):
        sampling = SamplingParams(
            temperature=0,
            max_tokens=draw.randrange(1, 21),
            stop=("".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.choice([1, 1, 2]))),)
            if draw.random() < 0.5
            else (),
        )
        # Tokens after which it is cancelled; none: while it waits.
        cancelled_at = draw.randrange(6) if draw.random() < 0.3 else None
        requests.append((draw.choice(list(alone)), sampling, cancelled_at, draw.randrange(-1, 2)))
    with LLMEngine(
        LetteredModel(model), Ahead(runner) if ahead else runner, config, own_model=False
    ) as engine:

        def sink(number: int):
            def take(event: TokenEvent) -> None:
                got[number].append(event)
                if event.last:
                    over.release()
                elif len(got[number]) == requests[number][2]:
                    engine.cancel(event.request_id)

            return take

        for number, (prompt, sampling, cancelled_at, priority) in enumerate(requests):
            request = GenerationRequest(
                request_id=str(number),
                prompt_token_ids=prompt,
                sampling=sampling,
                priority=priority,
            )
            engine.submit(request, sink(number))
            if cancelled_at == 0:
                engine.cancel(str(number))
        for _ in requests:
            assert over.acquire(timeout=60)
        deadline = time.monotonic() + 10
        while engine.stats().blocks_free < 40:
            assert time.monotonic() < deadline
        stats = engine.stats()
    ends = dict.fromkeys(FinishReason, 0)
    for (prompt, sampling, cancelled_at, _), events in zip(requests, got, strict=True):
        tokens = [token for event in events for token in event.token_ids]
        text = "".join(event.text for event in events)
        end = events[-1]
        assert end.error is None
        assert tokens == alone[prompt][: len(tokens)]
        whole = Letters().decode(alone[prompt][: sampling.max_tokens])
        stop = whole.find(sampling.stop[0]) if sampling.stop else -1
        ends[end.finish_reason] += 1
        if end.finish_reason is FinishReason.CANCELLED:
            assert cancelled_at is not None
            assert whole.startswith(text)
        elif end.finish_reason is FinishReason.STOP:
            assert text == whole[:stop]
            assert stop >= 0
        else:
            assert text == whole
            assert stop < 0
    assert min(ends.values()) > 50
    assert stats.preemptions > 20
    assert stats.cache_hit_tokens > 5000
    cancelled = ends[FinishReason.CANCELLED]
    assert (stats.finished, stats.cancelled) == (1000 - cancelled, cancelled)
