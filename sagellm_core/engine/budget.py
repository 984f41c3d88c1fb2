"""How prompts share the tokens that one step may prefill."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby

from .request import RequestState


def step_budget(most: int, decodes: int) -> int:
    """Prompt tokens for a step that decodes as well.

    Each decoded token counts like a prompt token, so the length of a step hardly depends on
    what is in it. A quarter is left to the prompts however many decode.

    :param most: tokens of a step.
    :param decodes: sequences that get one token each in it.
    """
    return max(most - decodes, -(-most // 4))


def shares(states: Iterable[RequestState], budget: int) -> Iterator[tuple[RequestState, int]]:
    """Who gets how many tokens, each state at most once, and in the order to compute them.

    Smaller priorities first. Within one, the first in line has half of the budget for sure;
    the other half goes to those behind it that have less left than it has, the shortest first:
    so a short prompt does not wait until a long one is done, the long one is at most half as
    fast, and prompts of equal length are computed one after the other, which is best for all.

    :param states: in line, the first first.
    :param budget: tokens, at least 1.
    """
    for _, group in groupby(states, key=lambda state: state.key[0]):
        line = deque(group)
        while line and line[0].prefill_left <= budget - budget // 2:
            budget -= line[0].prefill_left
            yield line[0], line.popleft().prefill_left
        if not line:
            continue
        given = dict.fromkeys(line, 0)
        longest = line[0].prefill_left
        lent = budget // 2
        for state in sorted(line, key=lambda state: state.prefill_left):
            if not lent or state.prefill_left >= longest:
                break
            given[state] = min(state.prefill_left, lent)
            lent -= given[state]
            budget -= given[state]
        for state in line:
            more = min(state.prefill_left - given[state], budget)
            given[state] += more
            budget -= more
        yield from ((state, tokens) for state, tokens in given.items() if tokens)
        if not budget:
            return
