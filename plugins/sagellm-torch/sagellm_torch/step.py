"""What the device has to know about one step, prepared once for all layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from .rotary import RotaryTable


@dataclass(slots=True, kw_only=True)
class Segment:
    """One row of a prefill: a chunk of one sequence, packed with others along ``T``."""

    #: Where its tokens lie in the packed tensors: ``first`` to ``first + count``.
    first: int
    count: int
    #: Tokens of this sequence in the cache before the chunk.
    start: int
    #: Blocks of the sequence, [ceil((start + count) / block_size)], on the device.
    blocks: torch.Tensor
    #: The first block, if all of them follow each other in memory.
    run: int | None
    #: Additive masks by sliding window, [count, keys]; filled by attention.
    masks: dict[int | None, torch.Tensor] = field(default_factory=dict)

    @property
    def context(self) -> int:
        """Tokens in the cache after the chunk."""
        return self.start + self.count


@dataclass(slots=True, kw_only=True)
class PrefillStep:
    """Chunks of several sequences, packed without padding."""

    #: [T] token ids.
    tokens: torch.Tensor
    #: Per rotary embedding, [T, 1, rotary_dim / 2, 2].
    rotations: tuple[torch.Tensor, ...]
    #: [T] where each token's key and value go: block * block_size + offset.
    write_index: torch.Tensor
    segments: tuple[Segment, ...]
    #: Rows of [T] whose logits are wanted, or ``None`` for all.
    logits_index: torch.Tensor | None
    #: What a device's own attention prepared for all layers, by a name of its own.
    prepared: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """What the device keeps of all slots of a runner, and decode steps begin with."""

    #: [slots] the token that was sampled last.
    last_tokens: torch.Tensor
    #: [slots, width] block tables. A sequence's own blocks come first; what follows is stale.
    tables: torch.Tensor
    ropes: tuple[RotaryTable, ...]


@dataclass(slots=True, kw_only=True)
class DecodeStep:
    """One token for each of B sequences.

    The device knows nearly all of it: ``told`` says in one copy what it does not.
    """

    #: [3 + rotary embeddings, B]: each row's slot, tokens in the cache after the step, place of
    #: its key and value (block * block_size + offset; below 0: nowhere, and then the length is 0
    #: and the row is for nothing), and its row in each rotary table.
    told: torch.Tensor
    state: SlotState
    #: Tokens in the cache after this step, a row; empty in a step that is recorded for later.
    contexts: tuple[int, ...]
    #: Gives :attr:`blocks`.
    gather: Callable[[], torch.Tensor]
    #: Blocks of the longest row.
    max_blocks: int
    #: With one row only: its first block, if all of them follow each other in memory.
    run: int | None
    #: Additive masks by sliding window, [B, 1, 1, keys]; filled by attention.
    masks: dict[int | None, torch.Tensor] = field(default_factory=dict)
    #: What a device's own attention prepared for all layers, by a name of its own.
    prepared: dict[str, Any] = field(default_factory=dict)
    #: [B] each: rows of :attr:`told`.
    slots: torch.Tensor = field(init=False)
    lengths: torch.Tensor = field(init=False)
    write_index: torch.Tensor = field(init=False)
    _turns: tuple[torch.Tensor, ...] = field(init=False)
    _tokens: torch.Tensor | None = field(default=None, init=False)
    _rotations: tuple[torch.Tensor, ...] | None = field(default=None, init=False)
    _blocks: torch.Tensor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.slots, self.lengths, self.write_index, *turns = self.told.unbind()
        self._turns = tuple(turns)

    def afresh(self) -> DecodeStep:
        """The same step with nothing looked up yet."""
        return replace(self, masks={}, prepared={})

    @property
    def tokens(self) -> torch.Tensor:
        """[B] token ids."""
        if self._tokens is None:
            self._tokens = self.state.last_tokens.index_select(0, self.slots)
        return self._tokens

    @property
    def rotations(self) -> tuple[torch.Tensor, ...]:
        """Per rotary embedding, [B, 1, rotary_dim / 2, 2]."""
        if self._rotations is None:
            pairs = zip(self.state.ropes, self._turns, strict=True)
            self._rotations = tuple(rope.rotations(rows) for rope, rows in pairs)
        return self._rotations

    @property
    def blocks(self) -> torch.Tensor:
        """[B * max_blocks] blocks, row by row. Rows with fewer repeat a block of their own.

        For attention that gathers; put together when it is first asked for.
        """
        if self._blocks is None:
            self._blocks = self.gather()
        return self._blocks

    @property
    def logits_index(self) -> None:
        """Every row's logits are wanted."""
        return
