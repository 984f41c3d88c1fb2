"""The operators of torch_npu that are used here, as they are called.

``torch.ops.npu`` has them all once torch_npu is imported. Tests hand in others with the same
signatures: plain torch operators where no NPU is, and torch_npu's own on the meta device.

Argument names, defaults and limits are those of torch_npu's documentation (Ascend/op-plugin,
``docs/zh/custom_APIs/torch_npu``). None of them takes a tensor that is not contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

#: What has to be there.
NAMES = (
    "npu_add_rms_norm",
    "npu_fused_infer_attention_score",
    "npu_rms_norm",
    "npu_rotary_mul",
    "npu_scatter_pa_kv_cache",
    "npu_swiglu",
)


class Operators(Protocol):
    """What a table of operators has."""

    def npu_rms_norm(self, input: Tensor, gamma: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """The normalised input, and what only training needs."""
        ...

    def npu_add_rms_norm(
        self, x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The normalised sum, what only training needs, and the sum."""
        ...

    def npu_swiglu(self, input: Tensor, dim: int) -> Tensor:
        """``silu(first half) * second half`` of a dimension."""
        ...

    def npu_rotary_mul(self, input: Tensor, r1: Tensor, r2: Tensor, rotary_mode: str) -> Tensor:
        """Rotary embeddings; ``interleave``: pairs lie side by side.

        :param input: [B, S, N, D]. ``r1``, ``r2``: cosines and sines, [1, S, 1, D], from -1 to 1.
        """
        ...

    def npu_scatter_pa_kv_cache(
        self,
        key: Tensor,
        value: Tensor,
        key_cache: Tensor,
        value_cache: Tensor,
        slot_mapping: Tensor,
        *,
        cache_mode: str,
    ) -> None:
        """Put keys and values, each [T, N, D], at token places [T] of paged caches.

        :param key_cache: [num_blocks, block_size, N, D], as ``value_cache``, in mode ``Norm``.
        """
        ...

    def npu_fused_infer_attention_score(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        atten_mask: Tensor | None = None,
        actual_seq_lengths: Sequence[int] | None = None,
        actual_seq_lengths_kv: Sequence[int] | None = None,
        block_table: Tensor | None = None,
        num_heads: int = 1,
        scale: float = 1.0,
        pre_tokens: int = 2147483647,
        next_tokens: int = 2147483647,
        input_layout: str = "BSH",
        num_key_value_heads: int = 0,
        sparse_mode: int = 0,
        block_size: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Attention, shaped as the queries, and what only ring attention needs.

        :param key: as queries are laid out, or with a ``block_table`` a cache of
            [num_blocks, block_size, N * D].
        :param block_table: [B, most blocks of a sequence], int32.
        :param actual_seq_lengths: host integers. In layout ``TND`` the sums up to each sequence,
            and so are those of keys, but for keys in a cache.
        """
        ...
