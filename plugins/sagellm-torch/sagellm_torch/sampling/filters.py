"""Which tokens may be drawn: top-k, top-p and min-p as one threshold a row.

All three keep the largest logits, so together they keep those above some value. Tokens that
tie with it are kept: which of them a sort would put first must not depend on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from sagellm_core.contract import SamplingParams

#: Without top-k, so many largest logits are looked at before a full sort; they nearly always
#: hold the probability that top-p asks for, and finding them costs a fraction of the sort.
_FIRST_LOOK = 512


def keep_threshold(scaled: torch.Tensor, params: Sequence[SamplingParams]) -> torch.Tensor | None:
    """The smallest value that each row keeps, [R, 1]; ``None`` when every row keeps all.

    :param scaled: [R, vocab] logits over temperature, shifted so that each row's maximum is 0.
    """
    vocab = scaled.shape[-1]
    threshold = scaled.new_tensor(
        [math.log(p.min_p) if p.min_p > 0 else -math.inf for p in params]
    ).unsqueeze(1)
    sorting = [i for i, p in enumerate(params) if 0 < p.top_k < vocab or p.top_p < 1]
    if sorting:
        rows = torch.tensor(sorting, device=scaled.device)
        nucleus = _nucleus(scaled.index_select(0, rows), [params[i] for i in sorting])
        threshold[rows] = torch.maximum(threshold[rows], nucleus)
    elif all(p.min_p == 0 for p in params):
        return None
    return threshold


def _nucleus(scaled: torch.Tensor, params: Sequence[SamplingParams]) -> torch.Tensor:
    """Thresholds of top-k, then of top-p among what top-k kept, [R, 1]."""
    vocab = scaled.shape[-1]
    limits = [min(p.top_k, vocab) if p.top_k else vocab for p in params]
    look = max(limit if limit < vocab else min(_FIRST_LOOK, vocab) for limit in limits)
    top = scaled.topk(look, dim=-1).values  # descending
    column = torch.tensor([min(limit, look) - 1 for limit in limits], device=scaled.device)
    by_count = torch.where(
        torch.tensor([limit < vocab for limit in limits], device=scaled.device).unsqueeze(1),
        top.gather(1, column.unsqueeze(1)),
        -math.inf,
    )
    if all(p.top_p >= 1 for p in params):
        return by_count
    kept = scaled.masked_fill(scaled < by_count, -math.inf)
    total = kept.exp().sum(-1, keepdim=True)
    wanted = scaled.new_tensor([p.top_p for p in params]).unsqueeze(1) * total
    by_mass, reached = _mass_threshold(top.masked_fill(top < by_count, -math.inf), wanted)
    short = ~reached.squeeze(1) & torch.tensor(
        [limit == vocab for limit in limits], device=scaled.device
    )
    if look < vocab and bool(short.any()):
        rows = short.nonzero().squeeze(1)
        ordered = scaled.index_select(0, rows).sort(-1, descending=True).values
        by_mass[rows], reached[rows] = _mass_threshold(ordered, wanted.index_select(0, rows))
    # Never reached means that rounding kept the sum below top_p: then everything is kept.
    unlimited = torch.tensor([p.top_p >= 1 for p in params], device=scaled.device).unsqueeze(1)
    by_mass = by_mass.masked_fill(~reached | unlimited, -math.inf)
    return torch.maximum(by_count, by_mass)


def _mass_threshold(
    ordered: torch.Tensor, wanted: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The value at which the sum of exponentials reaches ``wanted``, and whether it does.

    :param ordered: [R, n] descending. ``wanted``: [R, 1].
    """
    enough = ordered.exp().cumsum(-1) >= wanted
    reached = enough[:, -1:].clone()
    position = enough.to(torch.int8).argmax(-1, keepdim=True)
    return ordered.gather(1, position), reached
