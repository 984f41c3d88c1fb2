"""The KV cache on the device: blocks of keys and values, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheShape:
    """Sizes of a KV cache."""

    num_layers: int
    num_blocks: int
    block_size: int
    num_kv_heads: int
    head_dim: int
    dtype: torch.dtype

    @property
    def bytes_per_block(self) -> int:
        """Bytes of one block over all layers, keys and values together."""
        heads = self.num_kv_heads * self.head_dim
        return 2 * self.num_layers * self.block_size * heads * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the whole cache."""
        return self.num_blocks * self.bytes_per_block


class KVCache:
    """Keys and values of every layer, token-major inside a block.

    The memory is not touched here: pages that no sequence reaches cost nothing.
    """

    def __init__(self, shape: CacheShape, device: torch.device) -> None:
        self.shape = shape
        self._storage: torch.Tensor | None = torch.empty(
            (
                shape.num_layers,
                2,
                shape.num_blocks,
                shape.block_size,
                shape.num_kv_heads,
                shape.head_dim,
            ),
            dtype=shape.dtype,
            device=device,
        )
        #: Keys and values of a layer, each [num_blocks, block_size, num_kv_heads, head_dim].
        self.layers = [(pair[0], pair[1]) for pair in self._storage]

    def clear(self, block: int, offset: int) -> None:
        """Zero a block from token ``offset`` on, in every layer.

        Attention reads whole blocks and masks what lies past a sequence. Masked values must
        be finite all the same (0 times NaN is NaN), and fresh memory holds anything.
        """
        if self._storage is not None:
            self._storage[:, :, block, offset:].zero_()

    def close(self) -> None:
        """Give the memory back. May be called twice."""
        self._storage = None
        self.layers = []
