"""Blocks of 32 with one scale, and the plain float types.

In every function ``blocks`` is uint8 [n, block_bytes] and ``out`` float32 [n, block_size].
Formats: the ``block_q*`` structs of ggml-common.h.
"""

from __future__ import annotations

import torch


def halves(blocks: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    """The float16 values in bytes ``start:stop``, as float32 [n, (stop - start) / 2]."""
    return blocks[:, start:stop].contiguous().view(torch.float16).float()


def nibbles(packed: torch.Tensor, out: torch.Tensor) -> None:
    """Low halves of the bytes [..., k] into ``out`` [..., 0, k], high halves into [..., 1, k]."""
    out[..., 0, :].copy_(packed & 15)
    out[..., 1, :].copy_(packed >> 4)


def _f32(blocks: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(blocks.view(torch.float32))


def _f16(blocks: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(blocks.view(torch.float16))


def _bf16(blocks: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(blocks.view(torch.bfloat16))


def _q8_0(blocks: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(blocks[:, 2:].view(torch.int8))
    out.mul_(halves(blocks, 0, 2))


def _q4_0(blocks: torch.Tensor, out: torch.Tensor) -> None:
    nibbles(blocks[:, 2:], out.view(-1, 2, 16))
    out.sub_(8).mul_(halves(blocks, 0, 2))


def _q4_1(blocks: torch.Tensor, out: torch.Tensor) -> None:
    scale_min = halves(blocks, 0, 4)
    nibbles(blocks[:, 4:], out.view(-1, 2, 16))
    out.mul_(scale_min[:, :1]).add_(scale_min[:, 1:])


def _fifth_bits(packed: torch.Tensor, out: torch.Tensor) -> None:
    # Bit j of the 32-bit word belongs to element j: byte j // 8, bit j % 8.
    bits = packed.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8)
    out.add_((bits & 1).view(-1, 32), alpha=16)


def _q5_0(blocks: torch.Tensor, out: torch.Tensor) -> None:
    nibbles(blocks[:, 6:], out.view(-1, 2, 16))
    _fifth_bits(blocks[:, 2:6], out)
    out.sub_(16).mul_(halves(blocks, 0, 2))


def _q5_1(blocks: torch.Tensor, out: torch.Tensor) -> None:
    scale_min = halves(blocks, 0, 4)
    nibbles(blocks[:, 8:], out.view(-1, 2, 16))
    _fifth_bits(blocks[:, 4:8], out)
    out.mul_(scale_min[:, :1]).add_(scale_min[:, 1:])


DECODERS = {
    "F32": _f32,
    "F16": _f16,
    "BF16": _bf16,
    "Q8_0": _q8_0,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
}
