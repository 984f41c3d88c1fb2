"""What happens to logits before a greedy choice, in the order of ``SamplingParams``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sagellm_core.contract.sampling import SamplingParams

from .layers import Array


def penalised(
    logits: Array, prompt: Sequence[int], output: Sequence[int], sampling: SamplingParams
) -> Array:
    """Logits after bias and penalties.

    :param logits: of shape [vocabulary].
    :param output: the tokens generated so far.
    """
    changed = logits.copy()
    for token, amount in sampling.logit_bias.items():
        changed[token] += amount
    # Repetition counts prompt and output (Keskar et al. 2019, arXiv:1909.05858).
    seen = sorted({*prompt, *output})
    factor = sampling.repetition_penalty
    changed[seen] = np.where(changed[seen] > 0, changed[seen] / factor, changed[seen] * factor)
    # Presence and frequency count output alone (OpenAI API reference).
    for token in set(output):
        changed[token] -= sampling.presence_penalty
        changed[token] -= sampling.frequency_penalty * list(output).count(token)
    return changed
