"""Which tokens may be drawn: top-k, top-p and min-p as one threshold a row.

All three keep the largest logits, so together they keep those above some value. Tokens that
tie with it are kept: which of them a sort would put first must not depend on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from sagellm_core.contract import SamplingParams

from .packing import Packing

#: Without top-k, so many largest logits are looked at before a full sort; they nearly always
#: hold the probability that top-p asks for, and finding them costs a fraction of the sort.
_FIRST_LOOK = 512


class Filters:
    """The thresholds of the rows that draw.

    :param ints: room for integers that the device needs; ``floats``: for numbers.
    :param looks_first: whether to look at a few logits before all of them. The host has to wait
        for what comes of it, so it is for devices that compute before their calls return.
    """

    def __init__(
        self,
        params: Sequence[SamplingParams],
        vocab: int,
        ints: Packing,
        floats: Packing,
        *,
        looks_first: bool,
    ) -> None:
        self._ints = ints
        self._floats = floats
        self._floors: int | None = None
        if any(p.min_p > 0 for p in params):
            self._floors = floats.add(
                [math.log(p.min_p) if p.min_p > 0 else -math.inf for p in params]
            )
        sorting = [i for i, p in enumerate(params) if 0 < p.top_k < vocab or p.top_p < 1]
        self._nucleus: _Nucleus | None = None
        self._where: int | None = None
        if sorting:
            self._nucleus = _Nucleus(
                [params[i] for i in sorting], vocab, ints, floats, looks_first=looks_first
            )
            if len(sorting) < len(params):
                self._where = ints.add(sorting)

    def threshold(self, scaled: torch.Tensor) -> torch.Tensor | None:
        """The smallest value that each row keeps, [R, 1]; ``None`` when every row keeps all.

        :param scaled: [R, vocab] logits over temperature, shifted so that each row's maximum is 0.
        """
        floors = None if self._floors is None else self._floats[self._floors].unsqueeze(1)
        if self._nucleus is None:
            return floors
        if self._where is None:
            edges = self._nucleus.threshold(scaled)
        else:
            where = self._ints[self._where]
            found = self._nucleus.threshold(scaled.index_select(0, where))
            edges = scaled.new_full((scaled.shape[0], 1), -math.inf).index_copy(0, where, found)
        return edges if floors is None else torch.maximum(floors, edges)


class _Nucleus:
    """Top-k, then top-p among what top-k kept."""

    def __init__(
        self,
        params: Sequence[SamplingParams],
        vocab: int,
        ints: Packing,
        floats: Packing,
        *,
        looks_first: bool,
    ) -> None:
        self._ints = ints
        self._floats = floats
        limits = [min(p.top_k, vocab) if p.top_k else vocab for p in params]
        self._all_limited = max(limits) < vocab
        first_look = min(_FIRST_LOOK, vocab) if looks_first else vocab
        self._look = max(limit if limit < vocab else first_look for limit in limits)
        self._columns = ints.add([min(limit, self._look) - 1 for limit in limits])
        self._limited = ints.add([limit < vocab for limit in limits])
        self._masses: tuple[int, int] | None = None
        if any(p.top_p < 1 for p in params):
            self._masses = (
                floats.add([p.top_p for p in params]),
                ints.add([p.top_p >= 1 for p in params]),
            )

    def threshold(self, scaled: torch.Tensor) -> torch.Tensor:
        """[R, 1]."""
        top = _largest(scaled, self._look)
        limited = self._ints[self._limited].bool().unsqueeze(1)
        by_count = top.gather(1, self._ints[self._columns].unsqueeze(1))
        by_count = by_count.masked_fill(~limited, -math.inf)
        if self._masses is None:
            return by_count
        kept = scaled.masked_fill(scaled < by_count, -math.inf)
        share, unlimited = self._floats[self._masses[0]], self._ints[self._masses[1]].bool()
        wanted = share.unsqueeze(1) * kept.exp().sum(-1, keepdim=True)
        by_mass, reached = _mass_threshold(top.masked_fill(top < by_count, -math.inf), wanted)
        if self._look < scaled.shape[-1] and not self._all_limited:
            short = (~reached & ~limited).squeeze(1)
            if bool(short.any()):
                rows = short.nonzero().squeeze(1)
                ordered = _largest(scaled.index_select(0, rows), scaled.shape[-1])
                found = _mass_threshold(ordered, wanted.index_select(0, rows))
                by_mass[rows], reached[rows] = found
        # Never reached means that rounding kept the sum below top_p: then everything is kept.
        by_mass = by_mass.masked_fill(~reached | unlimited.unsqueeze(1), -math.inf)
        return torch.maximum(by_count, by_mass)


def _largest(values: torch.Tensor, count: int) -> torch.Tensor:
    """The largest of each row, descending, [R, count]."""
    if count < values.shape[-1]:
        return values.topk(count, dim=-1).values
    return values.sort(dim=-1, descending=True).values


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
