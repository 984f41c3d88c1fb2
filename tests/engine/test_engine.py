"""One request's life: how it begins, what it says, and how it ends."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sagellm_core.contract import (
    ConfigurationError,
    Engine,
    EngineConfig,
    FinishReason,
)
from sagellm_core.engine import LLMEngine


def script(runner: Any, text: str) -> None:
    """Have the runner answer with ``text`` and the end."""
    reply = [*text.encode(), 256]
    runner.answer = lambda tokens, prompt_len, sampling: reply[len(tokens) - prompt_len]


def test_it_is_an_engine(harness: Any) -> None:
    assert isinstance(harness().engine, Engine)


def test_tokens_and_text_come_as_they_are_sampled(harness: Any) -> None:
    one = harness()
    script(one.runner, "Grüße 😀!")
    _, events = one.submit()
    last = events.wait()
    assert events.text == "Grüße 😀!"
    assert events.token_ids == [*"Grüße 😀!".encode(), 256]
    assert all(len(event.token_ids) == 1 for event in events.all)
    assert (last.finish_reason, last.stop_reason, last.error) == (FinishReason.STOP, 256, None)
    assert [event.last for event in events.all] == [False] * (len(events.all) - 1) + [True]


def test_usage_and_timings_are_on_the_last_event(harness: Any) -> None:
    one = harness()
    _, events = one.submit("hello", max_tokens=6, ignore_eos=True)
    last = events.wait()
    assert last.usage is not None
    assert last.timings is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (5, 6)
    assert last.usage.total_tokens == 11
    timings = last.timings
    assert timings.ttft_s is not None
    assert timings.tpot_s is not None
    assert 0 <= timings.queue_s <= timings.ttft_s <= timings.total_s
    assert timings.ttft_s + 5 * timings.tpot_s <= timings.total_s
    assert all(event.usage is None for event in events.all[:-1])


def test_one_token_has_no_time_per_output_token(harness: Any) -> None:
    one = harness()
    _, events = one.submit(max_tokens=1)
    last = events.wait()
    assert len(events.token_ids) == 1
    assert last.timings is not None
    assert last.timings.ttft_s is not None
    assert last.timings.tpot_s is None


def test_the_context_ends_a_request_that_asks_for_more(harness: Any, fakes: Any) -> None:
    one = harness(model=fakes.Model(max_model_len=20))
    _, events = one.submit("x" * 15, max_tokens=18, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH
    assert len(events.token_ids) == 5


def test_without_max_tokens_the_context_is_filled(harness: Any, fakes: Any) -> None:
    one = harness(model=fakes.Model(max_model_len=20))
    _, events = one.submit("x" * 15, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH
    assert len(events.token_ids) == 5


def test_ignore_eos_goes_on(harness: Any) -> None:
    one = harness()
    one.runner.answer = lambda tokens, prompt_len, sampling: 256
    _, events = one.submit(max_tokens=4, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH
    assert events.token_ids == [256] * 4
    assert events.text == ""


def test_an_end_that_has_a_text_is_not_part_of_the_text(harness: Any, fakes: Any) -> None:
    class Telling(fakes.Tokenizer):  # type: ignore[misc]
        def decode(self, token_ids: Any, *, skip_special_tokens: bool = True) -> str:
            return "".join("</s>" if token == 256 else chr(token) for token in token_ids)

    one = harness(model=fakes.Model(Telling()))
    script(one.runner, "abc")
    _, events = one.submit()
    events.wait()
    assert events.text == "abc"


def test_a_stop_token_ends_after_itself(harness: Any) -> None:
    one = harness()
    script(one.runner, "abcdef")
    _, events = one.submit(stop_token_ids=[ord("c")])
    last = events.wait()
    assert (last.finish_reason, last.stop_reason) == (FinishReason.STOP, ord("c"))
    assert events.text == "abc"


def test_a_stop_string_is_cut_off_and_its_tokens_are_kept(harness: Any) -> None:
    one = harness()
    script(one.runner, "one two three")
    _, events = one.submit(stop=["o th", "two t"])
    last = events.wait()
    assert (last.finish_reason, last.stop_reason) == (FinishReason.STOP, "two t")
    assert events.text == "one "
    assert bytes(events.token_ids) == b"one two t"


def test_the_beginning_of_a_stop_string_comes_at_the_end(harness: Any) -> None:
    one = harness()
    script(one.runner, "one tw")
    _, events = one.submit(stop=["two"])
    assert events.wait().stop_reason == 256
    assert events.text == "one tw"


def test_a_stop_string_after_half_a_character(harness: Any) -> None:
    one = harness()
    script(one.runner, "a😀stop")
    _, events = one.submit(stop="stop")
    assert events.wait().stop_reason == "stop"
    assert events.text == "a😀"


@pytest.mark.parametrize("count", [2, 3, 4])
def test_an_emoji_cut_by_max_tokens_leaves_no_broken_character(harness: Any, count: int) -> None:
    one = harness()
    script(one.runner, "a😀b")
    _, events = one.submit(max_tokens=count)
    assert events.wait().finish_reason is FinishReason.LENGTH
    assert events.text == "a"


def test_a_seed_is_drawn_where_none_is_given(harness: Any) -> None:
    one = harness()
    for _ in range(2):
        one.submit(temperature=1.0, max_tokens=1)[1].wait()
    one.submit(temperature=1.0, seed=7, max_tokens=1)[1].wait()
    seeds = [call[1][0].begin.sampling.seed for call in one.runner.calls]
    assert seeds[2] == 7
    assert seeds[0] != seeds[1]
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_logprobs_come_with_their_tokens(harness: Any) -> None:
    one = harness()
    _, events = one.submit(logprobs=0, max_tokens=5, ignore_eos=True)
    _, plain = one.submit(max_tokens=5, ignore_eos=True)
    events.wait(), plain.wait()
    for event in events.all:
        assert event.logprobs is not None
        assert [entry.token_id for entry in event.logprobs] == list(event.token_ids)
    assert all(event.logprobs is None for event in plain.all)


# --- opening ---


class FakeProvider:
    def __init__(self, fakes: Any, *, has_engine: bool = False) -> None:
        self.has_engine = has_engine
        self.asked: list[Any] = []
        self._fakes = fakes

    def open_engine(self, model: Any, config: EngineConfig) -> Any:
        self.asked.append(config)
        return "the vendor's own"

    def open_runner(self, model: Any, config: Any) -> Any:
        self.asked.append(config)
        return self._fakes.Runner(max_slots=config.max_slots)


def test_open_asks_the_runner_for_what_the_config_says(fakes: Any) -> None:
    provider, model = FakeProvider(fakes), fakes.Model()
    config = EngineConfig(
        max_num_seqs=3, max_prefill_tokens=7, block_size=8, num_blocks=9, kv_memory_bytes=10
    )
    with LLMEngine.open(provider, model, config) as engine:
        assert engine.max_model_len == 256
    assert dataclasses.asdict(provider.asked[0]) == {
        "max_slots": 3,
        "max_model_len": 256,
        "block_size": 8,
        "num_blocks": 9,
        "kv_memory_bytes": 10,
        "max_prefill_tokens": 7,
    }


def test_open_prefers_the_vendors_engine(fakes: Any) -> None:
    provider = FakeProvider(fakes, has_engine=True)
    assert LLMEngine.open(provider, fakes.Model(), EngineConfig()) == "the vendor's own"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_num_seqs": 0},
        {"max_prefill_tokens": -1},
        {"max_waiting": 0},
        {"block_size": True},
        {"max_model_len": 257},
        {"max_model_len": 1},
        {"num_blocks": 0},
        {"max_num_seqs": "4"},
    ],
)
def test_wrong_limits_are_refused_before_anything_opens(fakes: Any, wrong: Any) -> None:
    provider = FakeProvider(fakes)
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        LLMEngine.open(provider, fakes.Model(), EngineConfig(**wrong))
    assert provider.asked == []


def test_a_runner_is_closed_when_the_engine_cannot_open(fakes: Any) -> None:
    runner = fakes.Runner()
    with pytest.raises(ConfigurationError):
        LLMEngine(fakes.Model(), runner, EngineConfig(max_num_seqs=0))
    assert runner.closed == 1
