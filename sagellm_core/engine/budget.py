"""How prompts share the tokens that one step may prefill."""

from __future__ import annotations

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
        first, *rest = group
        given: dict[RequestState, int] = {}
        lent = budget // 2
        if lent and first.prefill_left > budget - lent:
            shorter = (state for state in rest if state.prefill_left < first.prefill_left)
            for state in sorted(shorter, key=lambda state: state.prefill_left):
                given[state] = min(state.prefill_left, lent)
                lent -= given[state]
                if not lent:
                    break
        budget -= sum(given.values())
        for state in (first, *rest):
            if budget > 0:
                more = min(state.prefill_left - given.get(state, 0), budget)
                if more:
                    given[state] = given.get(state, 0) + more
                    budget -= more
        yield from given.items()
        if budget <= 0:
            return
