"""Log-probabilities of what was sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from sagellm_core.contract import TokenLogprobs

from .packing import Packing
from .row_state import RowState


@dataclass(frozen=True, slots=True)
class RowLogprobs:
    """Log-probabilities of the rows that asked for them."""

    #: Rows of the step, and how many alternatives each wants.
    rows: Sequence[int]
    wanted: Sequence[int]
    #: [n], of the sampled tokens.
    chosen: torch.Tensor
    #: [n, most wanted] best alternatives, or ``None``.
    top_ids: torch.Tensor | None
    top: torch.Tensor | None

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """What has to be on the host for :meth:`listed`."""
        if self.top is None or self.top_ids is None:
            return (self.chosen,)
        return self.chosen, self.top_ids, self.top

    def moved(self, tensors: Sequence[torch.Tensor]) -> RowLogprobs:
        """The same with :attr:`tensors` from elsewhere."""
        chosen, *best = tensors
        if not best:
            return replace(self, chosen=chosen)
        return replace(self, chosen=chosen, top_ids=best[0], top=best[1])

    def listed(self, token_ids: Sequence[int]) -> dict[int, TokenLogprobs]:
        """By row of the step.

        :param token_ids: what each row of the step sampled.
        """
        chosen: list[float] = self.chosen.tolist()
        ids = self.top_ids.tolist() if self.top_ids is not None else []
        values = self.top.tolist() if self.top is not None else []
        found = {}
        for i, (row, count) in enumerate(zip(self.rows, self.wanted, strict=True)):
            best = tuple(zip(ids[i][:count], values[i][:count], strict=True)) if count else ()
            found[row] = TokenLogprobs(token_ids[row], chosen[i], best)
        return found


class Asked:
    """The rows that ask for log-probabilities.

    :param ints: room for integers that the device needs.
    """

    __slots__ = ("_count", "_ints", "_rows", "_wanted", "_where")

    def __init__(self, rows: Sequence[RowState], vocab: int, ints: Packing) -> None:
        asking = [(i, row.params.logprobs) for i, row in enumerate(rows)]
        found = [(i, min(count, vocab)) for i, count in asking if count is not None]
        self._rows = [i for i, _ in found]
        self._wanted = [count for _, count in found]
        self._count = len(rows)
        self._ints = ints
        # All rows in their order need not be picked out.
        self._where = ints.add(self._rows) if 0 < len(found) < self._count else None

    def of(self, logits: torch.Tensor, tokens: torch.Tensor) -> RowLogprobs | None:
        """Under the model's own distribution: before bias, penalties, temperature and filters.

        :param logits: [R, vocab]. ``tokens``: [R], what was sampled.
        """
        if not self._rows:
            return None
        if self._where is not None:
            where = self._ints[self._where]
            logits, tokens = logits.index_select(0, where), tokens.index_select(0, where)
        logprobs = torch.log_softmax(logits, dim=-1)
        chosen = logprobs.gather(1, tokens.unsqueeze(1)).squeeze(1)
        most = max(self._wanted)
        if most == 0:
            return RowLogprobs(self._rows, self._wanted, chosen, None, None)
        top, top_ids = logprobs.topk(most, dim=-1)
        return RowLogprobs(self._rows, self._wanted, chosen, top_ids, top)
