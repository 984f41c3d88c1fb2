"""From logits to a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sagellm_core.contract import SamplingParams, TokenLogprobs
from sagellm_core.testing.reference.layers import log_softmax, softmax
from sagellm_core.testing.reference.sampling import penalised


class Drawn(NamedTuple):
    """A token, and its log-probabilities where asked for."""

    token: int
    logprobs: TokenLogprobs | None


def draw(
    logits: Any, tokens: Sequence[int], prompt_len: int, sampling: SamplingParams, index: int
) -> Drawn:
    """Draw a token; the randomness hangs on the seed and the index alone."""
    changed = penalised(logits, tokens[:prompt_len], tokens[prompt_len:], sampling)
    if sampling.greedy:
        token = int(np.argmax(changed))
    else:
        kept = filtered(changed / sampling.temperature, sampling)
        key = [int(sampling.seed or 0), index]
        noise = np.random.Generator(np.random.Philox(key=key)).gumbel(size=len(kept))
        token = int(np.argmax(kept + noise))
    return Drawn(token, told(logits, token, sampling.logprobs))


def filtered(scaled: Any, sampling: SamplingParams) -> Any:
    order = np.argsort(-scaled, kind="stable")
    chances = softmax(scaled)[order]
    keep = np.cumsum(chances) - chances < sampling.top_p
    keep &= chances >= sampling.min_p * chances[0]
    if sampling.top_k:
        keep[sampling.top_k :] = False
    kept = np.full_like(scaled, -np.inf)
    kept[order[keep]] = scaled[order[keep]]
    return kept


def told(logits: Any, token: int, wanted: int | None) -> TokenLogprobs | None:
    if wanted is None:
        return None
    values = log_softmax(logits)
    best = np.argsort(-values, kind="stable")[:wanted]
    top = tuple((int(each), float(values[each])) for each in best)
    return TokenLogprobs(token, float(values[token]), top)
