"""How large the kernels' tiles are: what a device says of itself in place of code of its own.

A tile that is right for one device does not fit another's on-chip memory, or leaves half of its
threads idle. So every block size and number of warps stands in one table, which the device's
adapter hands in. This module imports no torch and no triton.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Heads are filled up to a power of two, and matrix units want at least so many of each side.
_LEAST = 16


def padded(size: int) -> int:
    """The power of two, at least 16, that a side of ``size`` elements is filled up to."""
    return max(_LEAST, 1 << max(0, size - 1).bit_length())


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionTile:
    """Of attention over a block table."""

    #: It is for heads of at most so many elements.
    head_dim: int
    #: And for elements of at most so many bytes.
    itemsize: int
    #: Keys that one turn of the loop takes; a power of two, at least 16.
    block_n: int
    #: Queries of a prefill that a program takes; a power of two, at least 16.
    block_m: int = 64
    num_warps: int = 4
    #: Turns of the loop whose keys and values are on their way at once.
    num_stages: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TileTable:
    """Block sizes and numbers of warps of all kernels on a device.

    :param prefill: attention of a prefill, best first. The first one is taken that is for heads
        of a model's size and fits the device's memory with them.
    :param decode: the same for a decode step, where a program takes all query heads of a
        key-value head.
    :raises ValueError: an entry is not a power of two, or too small.
    """

    prefill: Sequence[AttentionTile]
    decode: Sequence[AttentionTile]
    #: Bytes of on-chip memory that a program may have.
    shared_memory: int
    #: Whether products of halves are computed in float32, where triton has no matrix units to use:
    #: then their tiles take the room of float32 ones.
    float_products: bool = False
    #: Programs that keep the whole device busy: a decode step of few sequences cuts their keys
    #: into as many parts as it takes to have so many.
    programs: int
    #: Most parts that the keys of a sequence are cut into; a power of two.
    most_splits: int = 64
    #: Elements of a row that a norm gives to one warp.
    norm_elements_per_warp: int = 512
    most_norm_warps: int = 8
    #: Outputs of a gated activation that a program computes.
    activation_block: int = 1024
    activation_warps: int = 4
    #: Heads that a program norms, rotates and writes.
    rotary_heads: int = 4
    rotary_warps: int = 2

    def __post_init__(self) -> None:
        for tile in (*self.prefill, *self.decode):
            for name in ("block_n", "block_m"):
                if padded(getattr(tile, name)) != getattr(tile, name):
                    raise ValueError(f"{name} is a power of two of at least 16, not {tile}.")
        for name in ("most_splits", "activation_block", "rotary_heads"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise ValueError(f"{name} is a power of two, not {value}.")

    def prefill_tile(self, head_dim: int, itemsize: int) -> AttentionTile:
        """The tile for a prefill.

        :raises LookupError: there is none for heads so large.
        """
        for tile in self.prefill:
            if self._serves(tile, tile.block_m, head_dim, itemsize):
                return tile
        raise _no_tile(head_dim, itemsize)

    def decode_tile(self, head_dim: int, itemsize: int, groups: int) -> AttentionTile:
        """The tile for a decode step.

        :param groups: query heads of a key-value head.
        :raises LookupError: there is none for heads so large, or so many.
        """
        for tile in self.decode:
            if self._serves(tile, groups, head_dim, itemsize):
                return tile
        raise _no_tile(head_dim, itemsize)

    def _serves(self, tile: AttentionTile, rows: int, head_dim: int, itemsize: int) -> bool:
        return (
            head_dim <= tile.head_dim
            and itemsize <= tile.itemsize
            and self.taken(tile, rows, head_dim, itemsize) <= self.shared_memory
        )

    def taken(self, tile: AttentionTile, rows: int, head_dim: int, itemsize: int) -> int:
        """:func:`shared_bytes` on this device."""
        return shared_bytes(tile, rows, head_dim, 4 if self.float_products else itemsize)

    def splits(self, sequences: int, kv_heads: int) -> int:
        """Into how many parts the keys of each sequence are cut; a power of two.

        It depends on the step's width and not on how long the sequences are, so that a recorded
        step is right for any lengths.
        """
        splits = 1
        while splits < self.most_splits and sequences * kv_heads * splits < self.programs:
            splits *= 2
        return splits

    def norm_warps(self, width: int) -> int:
        """Warps for a norm over ``width`` elements; a power of two."""
        warps = 1
        while warps < self.most_norm_warps and warps * self.norm_elements_per_warp < width:
            warps *= 2
        return warps


def _no_tile(head_dim: int, itemsize: int) -> LookupError:
    return LookupError(f"There is no tile for heads of {head_dim} elements of {itemsize} bytes.")


def shared_bytes(tile: AttentionTile, rows: int, head_dim: int, itemsize: int) -> int:
    """On-chip memory that a program of this tile takes at most, in bytes.

    Keys and values of every stage, the queries, and the weights on their way from one product's
    layout to the other's.

    :param rows: queries of the program: ``block_m`` in a prefill, the query heads of a key-value
        head in a decode step.
    """
    width = padded(head_dim)
    keys_and_values = 2 * tile.num_stages * tile.block_n * width * itemsize
    queries = padded(rows) * width * itemsize
    weights = padded(rows) * tile.block_n * 4
    return keys_and_values + queries + weights
