"""What the device has to know about one step, prepared once for all layers."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


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


@dataclass(slots=True, kw_only=True)
class DecodeStep:
    """One token for each of B sequences."""

    #: [B] token ids.
    tokens: torch.Tensor
    #: Per rotary embedding, [B, 1, rotary_dim / 2, 2].
    rotations: tuple[torch.Tensor, ...]
    #: [B] where each token's key and value go.
    write_index: torch.Tensor
    #: Tokens in the cache after this step, a row.
    contexts: tuple[int, ...]
    #: [B * max_blocks] blocks, row by row. Rows with fewer repeat a block of their own.
    blocks: torch.Tensor
    #: Blocks of the longest row.
    max_blocks: int
    #: With one row only: its first block, if all of them follow each other in memory.
    run: int | None
    #: Additive masks by sliding window, [B, 1, 1, keys]; filled by attention.
    masks: dict[int | None, torch.Tensor] = field(default_factory=dict)

    @property
    def logits_index(self) -> None:
        """Every row's logits are wanted."""
        return
