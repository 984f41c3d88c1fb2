"""Logit bias, and penalties for tokens that were there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from .packing import Packing
from .row_state import RowState


class Penalties:
    """What is added to the logits of a batch before it is sampled.

    Which tokens were there is kept for all rows side by side, so that a step costs as many
    kernels for many rows as for one. The rows' own states are views of that.

    :param ints: room for integers that the device needs; ``floats``: for numbers.
    """

    __slots__ = ("_bias", "_counted", "_floats", "_ints", "_repeated", "_vocab")

    def __init__(
        self, rows: Sequence[RowState], vocab: int, ints: Packing, floats: Packing
    ) -> None:
        self._vocab = vocab
        self._ints = ints
        self._floats = floats
        biased = [(i * vocab, row.params.logit_bias) for i, row in enumerate(rows)]
        places = [first + token for first, bias in biased for token in bias]
        amounts = [amount for _, bias in biased for amount in bias.values()]
        self._bias = (ints.add(places), floats.add(amounts)) if places else None
        repeated = [i for i, row in enumerate(rows) if row.repeats]
        counted = [i for i, row in enumerate(rows) if row.counts_output]
        self._repeated = _Seen(rows, repeated, vocab, ints, floats) if repeated else None
        self._counted = _Counts(rows, counted, vocab, ints, floats) if counted else None

    @property
    def idle(self) -> bool:
        """Whether logits stay as they are."""
        return self._bias is None and self._repeated is None and self._counted is None

    def prepare(self, like: torch.Tensor) -> None:
        """Put what is known of the rows on the device; ``like`` is a tensor there."""
        for state in (self._repeated, self._counted):
            if state is not None:
                state.prepare(like)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Adjusted logits, [R, vocab]; those given stay as they are."""
        if self.idle:
            return logits
        logits = logits.clone()
        if self._bias is not None:
            places, amounts = self._ints[self._bias[0]], self._floats[self._bias[1]]
            logits.view(-1).index_add_(0, places, amounts)
        if self._repeated is not None:
            self._repeated.punish(logits)
        if self._counted is not None:
            self._counted.punish(logits)
        return logits

    def observe(self, tokens: torch.Tensor) -> None:
        """Count what was sampled, [R]."""
        if self._repeated is not None:
            self._repeated.observe(tokens)
        if self._counted is not None:
            self._counted.observe(tokens)


class _Kept:
    """State of some rows, [n, vocab]."""

    __slots__ = ("_firsts", "_floats", "_ints", "_known", "_rows", "_where", "state")

    def __init__(
        self,
        known: list[int],
        rows: list[RowState],
        where: list[int],
        vocab: int,
        ints: Packing,
        floats: Packing,
    ) -> None:
        """:param known: places of tokens that the device was not told of. ``where``: rows."""
        self._rows = rows
        self._ints = ints
        self._floats = floats
        self._known = ints.add(known) if known else None
        self._where = ints.add(where)
        self._firsts = ints.add([i * vocab for i in range(len(rows))])
        self.state: torch.Tensor

    def _stack(
        self,
        like: torch.Tensor,
        dtype: torch.dtype,
        held: Callable[[RowState], torch.Tensor | None],
    ) -> torch.Tensor:
        """The rows' states side by side; zeros for those that have none."""
        vocab = like.shape[-1]
        found = [held(row) for row in self._rows]
        if not any(state is not None for state in found):
            return like.new_zeros((len(found), vocab), dtype=dtype)
        fresh = like.new_zeros(vocab, dtype=dtype)
        return torch.stack([fresh if state is None else state for state in found])

    def _places(self, tokens: torch.Tensor) -> torch.Tensor:
        return self._ints[self._firsts] + tokens.index_select(0, self._ints[self._where])


class _Seen(_Kept):
    """Whether prompt or output have each token: repetition penalty."""

    __slots__ = ("_penalty",)

    def __init__(
        self,
        rows: Sequence[RowState],
        where: list[int],
        vocab: int,
        ints: Packing,
        floats: Packing,
    ) -> None:
        mine = [rows[i] for i in where]
        known = [i * vocab + token for i, row in enumerate(mine) for token in row.tokens]
        super().__init__(known, mine, where, vocab, ints, floats)
        self._penalty = floats.add([row.params.repetition_penalty for row in mine])

    def prepare(self, like: torch.Tensor) -> None:
        self.state = self._stack(like, torch.bool, lambda row: row.seen)
        if self._known is not None:
            self.state.view(-1).index_fill_(0, self._ints[self._known], True)
        for row, seen in zip(self._rows, self.state.unbind(), strict=True):
            row.seen, row.tokens = seen, []

    def punish(self, logits: torch.Tensor) -> None:
        where = self._ints[self._where]
        part = logits.index_select(0, where)
        penalty = self._floats[self._penalty].unsqueeze(1)
        punished = torch.where(part > 0, part / penalty, part * penalty)
        logits.index_copy_(0, where, torch.where(self.state, punished, part))

    def observe(self, tokens: torch.Tensor) -> None:
        self.state.view(-1).index_fill_(0, self._places(tokens), True)


class _Counts(_Kept):
    """How often the output has each token: presence and frequency penalties."""

    __slots__ = ("_frequency", "_presence")

    def __init__(
        self,
        rows: Sequence[RowState],
        where: list[int],
        vocab: int,
        ints: Packing,
        floats: Packing,
    ) -> None:
        mine = [rows[i] for i in where]
        known = [i * vocab + token for i, row in enumerate(mine) for token in row.outputs]
        super().__init__(known, mine, where, vocab, ints, floats)
        self._presence = floats.add([row.params.presence_penalty for row in mine])
        self._frequency = floats.add([row.params.frequency_penalty for row in mine])

    def prepare(self, like: torch.Tensor) -> None:
        self.state = self._stack(like, torch.float32, lambda row: row.counts)
        if self._known is not None:
            self._count(self._ints[self._known])
        for row, counts in zip(self._rows, self.state.unbind(), strict=True):
            row.counts, row.outputs = counts, []

    def punish(self, logits: torch.Tensor) -> None:
        where, counts = self._ints[self._where], self.state
        presence = self._floats[self._presence].unsqueeze(1)
        frequency = self._floats[self._frequency].unsqueeze(1)
        penalty = presence * (counts > 0) + frequency * counts
        logits.index_copy_(0, where, logits.index_select(0, where) - penalty)

    def observe(self, tokens: torch.Tensor) -> None:
        self._count(self._places(tokens))

    def _count(self, places: torch.Tensor) -> None:
        ones = torch.ones_like(places, dtype=torch.float32)
        self.state.view(-1).index_add_(0, places, ones)
