"""Rotations with adjacent pairs against the textbook's halves."""

from __future__ import annotations

import pytest
import torch
from sagellm_torch.architecture import RopeConfig, RopeKind
from sagellm_torch.rotary import RotaryTable, interleave_pairs, rotate


@pytest.mark.parametrize(("head_dim", "rotary_dim"), [(8, 8), (10, 4), (6, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotating_reordered_heads_is_reordering_rotated_heads(head_dim, rotary_dim, dtype) -> None:
    heads, count = 3, 7
    config = RopeConfig(kind=RopeKind.DEFAULT, theta=100.0, rotary_dim=rotary_dim)
    table = RotaryTable(config, 32, torch.device("cpu"))
    x = torch.randn(count, heads, head_dim, dtype=dtype)
    rows = torch.randint(0, 32, (count,))

    def reorder(y):
        rows = interleave_pairs(y.reshape(count, -1).T, head_dim, rotary_dim)
        return rows.T.contiguous().view(y.shape)

    half = rotary_dim // 2
    inverse = 100.0 ** (-torch.arange(half) / half)
    angles = rows[:, None, None] * inverse
    cos, sin = angles.cos(), angles.sin()
    a, b = x[..., :half].float(), x[..., half:rotary_dim].float()
    textbook = torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(dtype)
    textbook = torch.cat((textbook, x[..., rotary_dim:]), dim=-1)
    found = rotate(reorder(x), table.rotations(rows))
    assert found.dtype is dtype
    tolerance = 1e-5 if dtype is torch.float32 else 2e-2
    torch.testing.assert_close(found, reorder(textbook), atol=tolerance, rtol=tolerance)
