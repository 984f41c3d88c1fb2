"""Blocks found again: by content, over requests, turns and preemptions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.contract import ConfigurationError, EngineConfig, FinishReason, SamplingParams
from sagellm_core.engine import EngineClient, LLMEngine
from sagellm_core.engine.prefix_cache import ROOT, PrefixCache

SIZE = 2


def filled(*sequences: list[int]) -> tuple[PrefixCache, dict[int, list[int]]]:
    """A cache with the full blocks of some sequences, and what each block holds from the start."""
    cache, held = PrefixCache(SIZE), {}
    block = 0
    for tokens in sequences:
        content = ROOT
        for end in range(SIZE, len(tokens) + 1, SIZE):
            content, news = cache.add(content, tokens[end - SIZE : end], block)
            if news:
                held[block] = tokens[:end]
            block += 1
    return cache, held


def test_the_longest_known_beginning_is_found() -> None:
    cache, _ = filled([1, 2, 3, 4, 5, 6], [1, 2, 9, 9])
    assert cache.match([1, 2, 3, 4, 7, 7, 7], 0, ROOT)[0] == [0, 1]
    assert cache.match([1, 2, 9, 9, 5], 0, ROOT)[0] == [0, 4]
    assert cache.match([3, 4, 5], 0, ROOT)[0] == []


def test_one_token_is_always_left_to_compute() -> None:
    cache, _ = filled([1, 2, 3, 4])
    assert cache.match([1, 2, 3, 4], 0, ROOT)[0] == [0]
    assert cache.match([1, 2], 0, ROOT)[0] == []


def test_what_is_forgotten_is_not_found_and_what_followed_it_neither() -> None:
    cache, _ = filled([1, 2, 3, 4, 5, 6])
    cache.forget(0)
    assert cache.match([1, 2, 3, 4, 5, 6, 7], 0, ROOT)[0] == []
    content, news = cache.add(ROOT, [1, 2], 7)
    assert news
    assert cache.match([1, 2, 3, 4, 5, 6, 7], 0, ROOT) == ([7], content)


sequences = st.lists(st.lists(st.integers(0, 2), max_size=9), max_size=8)


@given(sequences, st.lists(st.integers(0, 2), min_size=1, max_size=11))
def test_a_block_found_holds_exactly_these_tokens(known: list[list[int]], asked: list[int]) -> None:
    cache, held = filled(*known)
    blocks, _ = cache.match(asked, 0, ROOT)
    for index, block in enumerate(blocks):
        assert held[block] == asked[: (index + 1) * SIZE]
    longest = max(
        (n for n in range(0, len(asked), SIZE) for row in held.values() if row == asked[:n]),
        default=0,
    )
    assert len(blocks) * SIZE == longest


# --- through the engine --------------------------------------------------------------------


def prefilled(one: Any) -> int:
    """Tokens that the runner had to prefill."""
    return sum(
        len(row.token_ids) for name, rows in one.runner.calls if name == "prefill" for row in rows
    )


def test_a_prompt_seen_before_is_hardly_computed(harness: Any) -> None:
    one = harness(block_size=4)
    prompt = "the same long beginning, "
    for number, ending in enumerate(["one", "two", "three"]):
        _, events = one.submit(prompt + ending, max_tokens=6, ignore_eos=True)
        usage = events.wait().usage
        assert events.token_ids == one.expected(prompt + ending, 6, ignore_eos=True)
        assert usage.cached_tokens == (24 if number else 0)
    assert prefilled(one) == 28 + 4 + 6
    stats = one.engine.stats()
    assert (stats.cache_query_tokens, stats.cache_hit_tokens) == (28 + 28 + 30, 48)


def test_the_next_turn_of_a_chat_finds_the_answer_too(harness: Any) -> None:
    one = harness(block_size=4)
    history = list(b"a question of some length")
    _, events = one.submit(history, max_tokens=20, ignore_eos=True)
    events.wait()
    turn = history + events.token_ids + list(b"and then?")
    _, again = one.submit(turn, max_tokens=5, ignore_eos=True)
    # The last token of an answer was never computed; 25 + 19 tokens fill eleven blocks.
    assert again.wait().usage.cached_tokens == 44
    assert again.token_ids == one.expected(turn, 5, ignore_eos=True)


def test_those_who_begin_alike_wait_for_the_first(harness: Any, gate: Any) -> None:
    one = harness(max_slots=8, block_size=4, max_prefill_tokens=16)
    one.runner.before = gate
    prompts = ["a beginning that all of them share " + ending for ending in "abcdef"]
    pending = [one.submit(prompt, max_tokens=4, ignore_eos=True)[1] for prompt in prompts]
    gate.open()
    for prompt, events in zip(prompts, pending, strict=True):
        events.wait()
        assert events.token_ids == one.expected(prompt, 4, ignore_eos=True)
    assert prefilled(one) == 36 + 5 * 4


@pytest.mark.parametrize("end", ["cancel", "error"])
def test_who_waited_goes_on_alone_when_the_first_ends(harness: Any, end: str) -> None:
    one = harness(max_slots=4, block_size=4, max_prefill_tokens=4)
    calls = []

    def stop_the_first(name: str, rows: list[Any]) -> None:
        calls.append(name)
        if len(calls) == 4:
            if end == "error":
                raise ValueError("no")
            one.engine.cancel("first")

    one.runner.before = stop_the_first
    _, first = one.submit("b" * 30, request_id="first", max_tokens=4)
    _, second = one.submit("b" * 30, max_tokens=4, ignore_eos=True)
    assert second.wait().finish_reason is FinishReason.LENGTH
    assert second.token_ids == one.expected("b" * 30, 4, ignore_eos=True)
    assert (first.wait().error is not None) == (end == "error")
    # What the first had computed by then was not lost.
    assert second.all[-1].usage.cached_tokens >= 8


def test_who_gave_way_finds_its_own_blocks(harness: Any, gate: Any) -> None:
    one = harness(max_slots=2, num_blocks=12, block_size=4)
    one.runner.before = gate
    prompts = ["one of the two", "another prompt"]
    pending = [one.submit(prompt, max_tokens=28, ignore_eos=True)[1] for prompt in prompts]
    gate.open()
    for prompt, events in zip(prompts, pending, strict=True):
        events.wait()
        assert events.token_ids == one.expected(prompt, 28, ignore_eos=True)
        assert events.all[-1].usage.cached_tokens == 0  # not the prompt's doing
    stats = one.engine.stats()
    assert stats.preemptions > 0
    assert stats.cache_hit_tokens > 0


def test_old_content_gives_way_to_new(harness: Any) -> None:
    one = harness(max_slots=1, num_blocks=8, block_size=4)
    for prompt in ["a" * 17, "b" * 17, "c" * 17, "a" * 17]:
        _, events = one.submit(prompt, max_tokens=2, ignore_eos=True)
        events.wait()
        assert events.token_ids == one.expected(prompt, 2, ignore_eos=True)
    assert events.all[-1].usage.cached_tokens == 0
    stats = one.engine.stats()
    assert stats.blocks_free == 8
    assert 0 < stats.blocks_idle <= 8


@pytest.mark.parametrize("switch", ["configuration", "runner"])
def test_nothing_is_shared_where_it_is_off_or_the_runner_cannot(fakes: Any, switch: str) -> None:
    runner = fakes.Runner()
    config = EngineConfig(max_num_seqs=4)
    if switch == "runner":
        runner.capacity = replace(runner.capacity, shareable=False)
    else:
        config = replace(config, prefix_cache=False)
    with LLMEngine(fakes.Model(), runner, config) as engine:
        prompt = list(b"again and again")
        settings = SamplingParams(temperature=0, max_tokens=4)
        answers = EngineClient(engine).generate([prompt] * 3, settings)
        assert [answer.usage.cached_tokens for answer in answers] == [0, 0, 0]  # type: ignore[union-attr]
        assert engine.stats().blocks_idle == 0
    assert all(not row.begin.cached_token_ids for _, rows in runner.calls for row in rows
               if getattr(row, "begin", None))  # fmt: skip


def test_the_switch_is_checked(fakes: Any) -> None:
    with pytest.raises(ConfigurationError, match="prefix_cache='no'"):
        LLMEngine(fakes.Model(), fakes.Runner(), EngineConfig(prefix_cache="no"))  # type: ignore[arg-type]
