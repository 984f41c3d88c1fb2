"""Answers of the mock, through the real engine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest
from sagellm_mock import vocabulary

from sagellm_core.contract import FinishReason

PROMPTS = ["Hello", "What is the capital of France?", "x", "Grüße 😀", "a b c d e f g"]


def test_the_same_prompt_has_the_same_answer(mock: Any) -> None:
    first = [one.token_ids for one in mock().ask_all(PROMPTS)]
    again = [one.token_ids for one in mock().ask_all(PROMPTS)]
    assert first == again
    assert len(set(first)) == len(PROMPTS)


def test_a_seed_matters_when_the_temperature_is_above_zero(mock: Any) -> None:
    one = mock()
    answers = [one.ask("Hello", temperature=0.7, seed=seed).token_ids for seed in range(5)]
    assert len(set(answers)) == 5
    assert one.ask("Hello", temperature=0.7, seed=3).token_ids == answers[3]
    assert one.ask("Hello", seed=1).token_ids == one.ask("Hello", seed=2).token_ids


def test_answers_end_on_their_own_after_a_while(mock: Any) -> None:
    for one in mock().ask_all([f"prompt {number}" for number in range(60)]):
        assert one.finish_reason is FinishReason.STOP
        assert one.stop_reason == vocabulary.END
        assert 8 <= len(one.token_ids) <= 75
        assert one.text[0].isupper()
        assert one.text[-1] in ".😃"


def test_text_is_what_the_tokens_say(mock: Any) -> None:
    one = mock()
    answers = one.ask_all([f"prompt {number}" for number in range(60)])
    for answer in answers:
        assert answer.text == one.tokenizer.decode(answer.token_ids)
    assert any("✨" in answer.text for answer in answers)


@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_max_tokens_to_the_token(mock: Any, count: int) -> None:
    answer = mock().ask("Hello", max_tokens=count, ignore_eos=True)
    assert len(answer.token_ids) == count
    assert answer.finish_reason is FinishReason.LENGTH
    assert vocabulary.END not in answer.token_ids


def test_stop_strings_and_stop_tokens(mock: Any) -> None:
    one = mock()
    whole = one.ask("Hello")
    answer = one.ask("Hello", stop=["."])
    assert answer.text == whole.text.split(".")[0]
    third = whole.token_ids[2]
    answer = one.ask("Hello", stop_token_ids=[third])
    assert answer.token_ids == whole.token_ids[:3]


def test_a_bias_forces_and_forbids(mock: Any) -> None:
    one = mock()
    token = one.tokenizer.encode(" river")[0]
    answer = one.ask("Hello", logit_bias={token: 100}, max_tokens=4)
    assert answer.token_ids == (token,) * 4
    first = one.ask("Hello", max_tokens=1).token_ids[0]
    assert one.ask("Hello", logit_bias={first: -100}, max_tokens=1).token_ids != (first,)
    assert one.ask("Hello", logit_bias={vocabulary.END: 100}).token_ids == (vocabulary.END,)


def test_a_bias_against_all_but_one(mock: Any) -> None:
    one = mock()
    bias = {token: -100 for token in range(vocabulary.SIZE) if token != 77}
    assert one.ask("Hello", logit_bias=bias, max_tokens=2).token_ids == (77, 77)


def test_logprobs_are_consistent(mock: Any) -> None:
    one = mock()
    answer = one.ask("Hello", logprobs=20, max_tokens=10)
    assert [entry.token_id for entry in answer.logprobs] == list(answer.token_ids)
    for entry in answer.logprobs:
        values = [value for _, value in entry.top]
        assert len({token for token, _ in entry.top}) == 20
        assert values == sorted(values, reverse=True)
        assert entry.top[0] == (entry.token_id, entry.logprob)
        assert entry.logprob <= 0
        assert sum(2.718281828**value for value in values) < 1
    assert one.ask("Hello", max_tokens=10).token_ids == answer.token_ids
    assert one.ask("Hello", logprobs=0, max_tokens=1).logprobs[0].top == ()


def test_a_forced_token_has_its_own_logprob(mock: Any) -> None:
    answer = mock().ask("Hello", logit_bias={77: 100}, logprobs=1, max_tokens=1)
    (entry,) = answer.logprobs
    assert entry.token_id == 77
    assert entry.logprob < entry.top[0][1] < 0


@pytest.mark.parametrize(
    "config",
    [
        {"max_num_seqs": 1},
        {"max_num_seqs": 8, "max_prefill_tokens": 3},
        {"max_num_seqs": 8, "num_blocks": 12, "block_size": 8},
        {"max_num_seqs": 3, "block_size": 1, "num_blocks": 130},
    ],
)
def test_batching_chunks_and_preemption_do_not_change_answers(mock: Any, config: Any) -> None:
    settings = {"max_tokens": 40, "ignore_eos": True, "temperature": 1.0, "seed": 5}
    alone = [one.token_ids for one in (mock().ask(prompt, **settings) for prompt in PROMPTS)]
    one = mock(config=config)
    together = one.ask_all(PROMPTS * 3, **settings)
    assert [answer.token_ids for answer in together] == alone * 3
    assert (one.engine.stats().preemptions > 0) == ("num_blocks" in config)


def test_simulated_latency(mock: Any) -> None:
    one = mock(ttft_s=0.05, tpot_s=0.02)
    started = time.monotonic()
    answer = one.ask("Hello", max_tokens=5, ignore_eos=True)
    assert time.monotonic() - started >= 0.05 + 4 * 0.02
    assert answer.timings.ttft_s >= 0.05
    assert answer.timings.tpot_s >= 0.02


# Token ids, written down: they must be these on every machine and Python.
GOLDEN = """\
277 349 360 435 305 374 490 298 324 392 46 282 399 420 314 361 496 309 340 362 46 260
267 331 366 424 310 327 378 494 307 322 397 484 314 411 46 294 340 361 445 301 349 397 46 260
268 396 495 311 406 438 313 324 393 46 291 319 364 424 310 369 482 303 402 465
271 339 391 442 298 399 464 46 296 323 363 426
751 -376 751 -2253 -376 2253 1127 -751
"""

PRINT_GOLDEN = """
from sagellm_core.contract import *
from sagellm_core.engine import EngineClient, LLMEngine
from sagellm_mock import plugin

model = plugin.sagellm_load_model(
    ModelDescription(reference="any", format=ModelFormat.UNRESOLVED), LoadOptions()
)
runner = plugin.sagellm_open_runner(model, RunnerConfig(max_slots=4, max_model_len=8192))
with LLMEngine(model, runner, EngineConfig(max_num_seqs=4)) as engine:
    for prompt, sampling in (
        ("Hello", SamplingParams(temperature=0)),
        ("Hello", SamplingParams(temperature=0.7, seed=42)),
        ("Gr\\u00fc\\u00dfe \\U0001f600", SamplingParams(temperature=0, max_tokens=20)),
        ("prompt 3", SamplingParams(temperature=0, max_tokens=12)),
    ):
        answer = EngineClient(engine).generate(model.tokenizer.encode(prompt), sampling)[0]
        print(*answer.token_ids)
embedder = plugin.sagellm_open_embedder(model, EmbedderConfig())
(vector,) = embedder.embed([[1, 2, 3]], normalize=True).tolist()
print(*(round(value * 1e4) for value in vector[:8]))
"""


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_golden_tokens(hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", PRINT_GOLDEN],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )
    assert (done.stderr, done.stdout) == ("", GOLDEN)
