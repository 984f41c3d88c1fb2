"""Attention in which every token of a text sees every other, over packed texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .pack import Group


def attend_full(
    qkv: torch.Tensor, groups: Sequence[Group], num_heads: int, bias: torch.Tensor | None
) -> torch.Tensor:
    """Attention before its output projection.

    Texts of one length are one batch: no token is padding, and no mask is needed.

    :param qkv: [T, 3 * num_heads * head_dim]: queries, keys and values side by side.
    :param groups: rows after the last one belong to no text, and become 0.
    :param bias: added to scaled scores, [num_heads, longest, longest], or ``None``.
    :returns: [T, num_heads * head_dim].
    """
    width = qkv.shape[1] // 3
    out = qkv.new_empty(qkv.shape[0], width)
    out[groups[-1].rows.stop :].zero_()
    for group in groups:
        count, length = group.count, group.length
        parts = qkv[group.rows].view(count, length, 3, num_heads, width // num_heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()  # each [n, heads, L, D]
        mask = None if bias is None else bias[:, :length, :length].unsqueeze(0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out[group.rows].view(count, length, num_heads, -1).copy_(mixed.transpose(1, 2))
    return out
