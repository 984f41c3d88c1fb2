"""torch_npu's operators in plain torch, with the limits that its documentation states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import fused_infer_attention
from .limits import require, require_contiguous, require_type

_FLOATS = (torch.float16, torch.bfloat16, torch.float32)
_INTEGERS = (torch.int32, torch.int64)


class StandInOperators:
    """The operators of :class:`~sagellm_ascend.operators.Operators`, on any torch device.

    :raises UndocumentedCall: by any of them: torch_npu's documentation rules the call out.
    """

    def npu_rms_norm(
        self, input: Tensor, gamma: Tensor, epsilon: float = 1e-6
    ) -> tuple[Tensor, Tensor]:
        """``input / sqrt(mean(input^2) + epsilon) * gamma``, and the reciprocal of the root."""
        require_contiguous(input, gamma)
        require_type(input, *_FLOATS)
        require(gamma.dtype == input.dtype, f"gamma is {gamma.dtype}, input {input.dtype}")
        require(gamma.shape == input.shape[-1:], f"gamma has the shape {tuple(gamma.shape)}")
        wide = input.float()
        root = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
        return (wide * root * gamma.float()).to(input.dtype), root

    def npu_add_rms_norm(
        self, x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The norm of ``x1 + x2``, what :meth:`npu_rms_norm` gives beside it, and the sum."""
        require_contiguous(x1, x2)
        require(x1.shape == x2.shape and x1.dtype == x2.dtype, "x1 and x2 are not alike")
        total = x1 + x2
        normed, root = self.npu_rms_norm(total, gamma, epsilon)
        return normed, root, total

    def npu_swiglu(self, input: Tensor, dim: int = -1) -> Tensor:
        """``silu(first half) * second half`` of a dimension."""
        require_contiguous(input)
        require_type(input, *_FLOATS)
        require(input.shape[dim] % 2 == 0, "the dimension has no halves")
        gate, up = input.chunk(2, dim)
        return F.silu(gate) * up

    def npu_rotary_mul(
        self, input: Tensor, r1: Tensor, r2: Tensor, rotary_mode: str = "half"
    ) -> Tensor:
        """``input * r1 + turned(input) * r2``; only pairs that lie side by side."""
        require(rotary_mode == "interleave", f"the mode {rotary_mode!r} is not used")
        require_contiguous(input, r1, r2)
        require_type(input, *_FLOATS)
        require(r1.dtype == r2.dtype == input.dtype, "the types differ")
        batch, length, heads, size = input.shape
        require(r1.shape == r2.shape == (1, length, 1, size), f"r1 is {tuple(r1.shape)}")
        require(size % 2 == 0 and size < 896, f"heads have {size} dimensions")
        require(batch * heads < 1000, f"there are {batch * heads} heads")
        require(bool((r1.abs() <= 1).all() & (r2.abs() <= 1).all()), "r1 or r2 is beyond 1")
        turned = torch.stack((-input[..., 1::2], input[..., ::2]), dim=-1).flatten(-2)
        return input * r1 + turned * r2

    def npu_scatter_pa_kv_cache(
        self,
        key: Tensor,
        value: Tensor,
        key_cache: Tensor,
        value_cache: Tensor,
        slot_mapping: Tensor,
        *,
        cache_mode: str | None = "PA_NZ",
    ) -> None:
        """Put keys and values at token places of paged caches; only those in plain layout."""
        require(cache_mode == "Norm", f"the mode {cache_mode!r} is not used")
        require_contiguous(key, value, key_cache, value_cache, slot_mapping)
        require_type(slot_mapping, *_INTEGERS)
        require(key.shape[:2] == value.shape[:2], "keys and values are not alike")
        require(slot_mapping.shape == key.shape[:1], "slot_mapping is not one place a token")
        for new, cache in ((key, key_cache), (value, value_cache)):
            require(new.dtype == cache.dtype, f"{new.dtype} does not go into {cache.dtype}")
            require(cache.dim() == 4 and cache.shape[2:] == new.shape[1:], "the cache differs")
            cache.view(-1, *cache.shape[2:]).index_copy_(0, slot_mapping.long(), new)

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
        """Attention; of its layouts ``TND`` and ``BSND``."""
        out = fused_infer_attention(
            query,
            key,
            value,
            atten_mask=atten_mask,
            actual_seq_lengths=actual_seq_lengths,
            actual_seq_lengths_kv=actual_seq_lengths_kv,
            block_table=block_table,
            num_heads=num_heads,
            scale=scale,
            pre_tokens=pre_tokens,
            next_tokens=next_tokens,
            input_layout=input_layout,
            num_key_value_heads=num_key_value_heads,
            sparse_mode=sparse_mode,
            block_size=block_size,
        )
        return out, query.new_empty(0, dtype=torch.float32)
