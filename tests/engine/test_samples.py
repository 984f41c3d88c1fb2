"""Several answers to one prompt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sagellm_core.contract import InvalidRequestError, SamplingParams

PROMPT = list(b"a prompt of some length, with a few blocks")


def test_each_prompt_has_its_answers_side_by_side(harness: Any) -> None:
    one = harness()
    settings = SamplingParams(seed=5, max_tokens=12, ignore_eos=True)
    first, second = [[*PROMPT, 1], [*PROMPT, 2]]
    answers = [list(each.token_ids) for each in one.client.generate([first, second], settings, n=3)]
    assert len(answers) == 6
    assert len({tuple(answer) for answer in answers}) == 6
    alone = [one.client.generate(each, settings)[0].token_ids for each in (first, second)]
    assert [tuple(answers[0]), tuple(answers[3])] == alone
    again = one.client.generate([first, second], settings, n=3)
    assert [list(each.token_ids) for each in again] == answers


def test_more_answers_begin_with_the_fewer(harness: Any) -> None:
    one = harness()
    settings = SamplingParams(seed=2**63 - 1, max_tokens=8)
    few = one.client.generate(PROMPT, settings, n=2)
    many = one.client.generate(PROMPT, settings, n=5)
    assert [each.token_ids for each in few] == [each.token_ids for each in many[:2]]


def test_the_prompt_is_computed_once(harness: Any) -> None:
    one = harness(max_slots=8, block_size=4)
    one.client.generate(PROMPT, SamplingParams(max_tokens=4), n=8)
    computed = sum(
        len(row.token_ids) for name, rows in one.runner.calls if name == "prefill" for row in rows
    )
    # All but the last block, which holds what the answer goes on from.
    tail = len(PROMPT) - (len(PROMPT) - 1) // 4 * 4
    assert computed == len(PROMPT) + 7 * tail


def test_greedy_answers_are_equal_and_those_without_a_seed_are_not(harness: Any) -> None:
    one = harness()
    greedy = one.client.generate(PROMPT, SamplingParams(temperature=0, max_tokens=9), n=3)
    assert len({each.token_ids for each in greedy}) == 1
    drawn = one.client.generate(PROMPT, SamplingParams(max_tokens=20, ignore_eos=True), n=3)
    assert len({each.token_ids for each in drawn}) == 3


def test_on_an_event_loop(harness: Any) -> None:
    one = harness()
    settings = SamplingParams(seed=1, max_tokens=5)
    waited = one.client.generate(PROMPT, settings, n=4)
    awaited = asyncio.run(one.client.agenerate(PROMPT, settings, n=4))
    assert [each.token_ids for each in awaited] == [each.token_ids for each in waited]


@pytest.mark.parametrize("n", [0, -1, True, 1.0, "2", None])
def test_a_number_that_is_none_is_refused(harness: Any, n: Any) -> None:
    with pytest.raises(InvalidRequestError, match="n="):
        harness().client.generate(PROMPT, SamplingParams(), n=n)
