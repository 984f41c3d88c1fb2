"""How prompts share a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.engine.budget import shares, step_budget


@dataclass(eq=False)
class Waiting:
    """What the budget looks at."""

    key: tuple[int, int]
    prefill_left: int


def line(*lefts: int, priority: int = 0) -> list[Any]:
    return [Waiting((priority, number), left) for number, left in enumerate(lefts)]


def given_to(states: list[Any], budget: int) -> list[int]:
    got = {id(state): tokens for state, tokens in shares(states, budget)}
    return [got.get(id(state), 0) for state in states]


@pytest.mark.parametrize(
    ("lefts", "budget", "expected"),
    [
        ((10,), 16, [10]),
        ((100,), 16, [16]),
        ((5, 5, 5), 16, [5, 5, 5]),
        ((100, 5), 16, [11, 5]),
        ((100, 50), 16, [8, 8]),
        ((100, 20, 5), 16, [8, 3, 5]),
        ((100, 100), 16, [16, 0]),
        ((20, 100), 16, [16, 0]),
        ((4, 100, 3), 16, [4, 9, 3]),
        ((100, 5), 1, [1, 0]),
    ],
)
def test_a_short_prompt_gets_by_a_long_one(lefts: Any, budget: int, expected: list[int]) -> None:
    assert given_to(line(*lefts), budget) == expected


def test_what_is_urgent_does_not_share() -> None:
    states = [*line(100, priority=-1), *line(1)]
    assert given_to(states, 16) == [16, 0]


def test_decodes_count_and_prompts_keep_a_quarter() -> None:
    assert [step_budget(16, decodes) for decodes in (0, 1, 12, 13, 500)] == [16, 15, 4, 4, 4]
    assert step_budget(1, 100) == 1


@given(
    st.lists(st.tuples(st.integers(-1, 1), st.integers(1, 50)), min_size=1, max_size=12),
    st.integers(1, 60),
)
def test_the_budget_is_used_and_nobody_gets_more_than_it_needs(rows: Any, budget: int) -> None:
    states: list[Any] = [
        Waiting((priority, number), left)
        for number, (priority, left) in enumerate(sorted(rows, key=lambda row: row[0]))
    ]
    got = list(shares(states, budget))
    assert len({id(state) for state, _ in got}) == len(got)
    assert all(1 <= tokens <= state.prefill_left for state, tokens in got)
    assert sum(tokens for _, tokens in got) == min(budget, sum(s.prefill_left for s in states))
    mine = {id(state): tokens for state, tokens in got}
    first = states[0]
    assert mine[id(first)] >= min(first.prefill_left, budget - budget // 2)
    for state, _ in got:
        for other in states:
            if other.key[0] < state.key[0]:  # whoever is more urgent has all it needs
                assert mine[id(other)] == other.prefill_left
