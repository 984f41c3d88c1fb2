"""Super-blocks of 256 elements, with quantised scales inside.

In every function ``blocks`` is uint8 [n, block_bytes] and ``out`` float32 [n, 256]. Formats: the
``block_q*_K`` structs of ggml-common.h; elements lie in the order of ``dequantize_row_q*_K``.
"""

from __future__ import annotations

import torch

from .legacy_quants import halves, nibbles


def _shifts(*amounts: int) -> torch.Tensor:
    """Bit positions as a column: [len(amounts), 1], to be broadcast over bytes."""
    return torch.tensor(amounts, dtype=torch.uint8).unsqueeze(1)


def _q2_k(blocks: torch.Tensor, out: torch.Tensor) -> None:
    # scales[16] (low half: scale, high half: minimum) | quants[64] | d | dmin
    scales, d = blocks[:, :16], halves(blocks, 80, 84)
    packed = blocks[:, 16:80].reshape(-1, 2, 1, 32)
    out.view(-1, 2, 4, 32).copy_((packed >> _shifts(0, 2, 4, 6)) & 3)
    scale = (d[:, :1] * (scales & 15)).unsqueeze(-1)
    minimum = (d[:, 1:] * (scales >> 4)).unsqueeze(-1)
    out.view(-1, 16, 16).mul_(scale).sub_(minimum)


def _q3_k(blocks: torch.Tensor, out: torch.Tensor) -> None:
    # high-bit mask[32] | low bits[64] | scales[12] | d
    mask = blocks[:, :32].reshape(-1, 1, 32)
    packed = blocks[:, 32:96].reshape(-1, 2, 1, 32)
    scales = blocks[:, 96:108]
    # 16 scales of 6 bits: four low bits in the halves of 8 bytes, two high bits in 4 bytes.
    low = torch.empty(len(blocks), 2, 8, dtype=torch.uint8)
    nibbles(scales[:, :8], low)
    high = (scales[:, 8:].unsqueeze(1) >> _shifts(0, 2, 4, 6)) & 3
    scale = (low.view(-1, 16) | (high.reshape(-1, 16) << 4)).to(torch.int8) - 32
    out.view(-1, 2, 4, 32).copy_((packed >> _shifts(0, 2, 4, 6)) & 3)
    # A bit that is not set stands for minus four.
    unset = (~mask >> _shifts(0, 1, 2, 3, 4, 5, 6, 7)) & 1
    out.view(-1, 8, 32).sub_(unset, alpha=4)
    out.view(-1, 16, 16).mul_((halves(blocks, 108, 110) * scale).unsqueeze(-1))


def scale_min(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight scales and minima of 6 bits from 12 bytes; both uint8 [n, 8]."""
    first, second, mixed = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scale = torch.cat((first & 63, (mixed & 15) | ((first >> 2) & 48)), dim=1)
    minimum = torch.cat((second & 63, (mixed >> 4) | ((second >> 2) & 48)), dim=1)
    return scale, minimum


def _affine(blocks: torch.Tensor, out: torch.Tensor) -> None:
    d = halves(blocks, 0, 4)
    scale, minimum = scale_min(blocks[:, 4:16])
    groups = out.view(-1, 8, 32)
    groups.mul_((d[:, :1] * scale).unsqueeze(-1)).sub_((d[:, 1:] * minimum).unsqueeze(-1))


def _q4_k(blocks: torch.Tensor, out: torch.Tensor) -> None:
    # d | dmin | scales and minima[12] | quants[128]
    nibbles(blocks[:, 16:].reshape(-1, 4, 32), out.view(-1, 4, 2, 32))
    _affine(blocks, out)


def _q5_k(blocks: torch.Tensor, out: torch.Tensor) -> None:
    # d | dmin | scales and minima[12] | high bits[32] | low bits[128]
    nibbles(blocks[:, 48:].reshape(-1, 4, 32), out.view(-1, 4, 2, 32))
    high = (blocks[:, 16:48].unsqueeze(1) >> _shifts(0, 1, 2, 3, 4, 5, 6, 7)) & 1
    out.view(-1, 8, 32).add_(high, alpha=16)
    _affine(blocks, out)


def _q6_k(blocks: torch.Tensor, out: torch.Tensor) -> None:
    # low bits[128] | high bits[64] | scales[16], signed | d
    low = blocks[:, :128].reshape(-1, 2, 64)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32)
    nibbles(low, out.view(-1, 2, 2, 64))
    out.view(-1, 2, 4, 32).add_((high >> _shifts(0, 2, 4, 6)) & 3, alpha=16)
    scale = halves(blocks, 208, 210) * blocks[:, 192:208].view(torch.int8)
    out.sub_(32).view(-1, 16, 16).mul_(scale.unsqueeze(-1))


DECODERS = {"Q2_K": _q2_k, "Q3_K": _q3_k, "Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k}
