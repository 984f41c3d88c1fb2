"""Norms, gated activations, rotations and cache writes by kernels against plain torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sagellm_torch import AttentionConfig
from sagellm_torch.activations import ACTIVATIONS
from sagellm_torch.rotary import rotate

pytestmark = pytest.mark.usefixtures("interpreted")

_FEW = settings(max_examples=12, deadline=None, derandomize=True)
_DTYPES = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])
_EPS = 1e-5


def _normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@_FEW
@given(rows=st.integers(1, 5), width=st.sampled_from([1, 16, 96, 100, 1024]), dtype=_DTYPES)
def test_rms_norm(rows, width, dtype, tile_table, close) -> None:
    from sagellm_torch.triton.rows import rms_norm

    # Rows that lie apart, as those of a wider product do.
    x = _normal(rows, width + 7, dtype=dtype)[:, :width]
    weight = _normal(width, dtype=dtype, seed=1)
    expected = F.rms_norm(x.float(), (width,), weight.float(), _EPS)
    close(rms_norm(x, weight, _EPS, tile_table()), expected)


@_FEW
@given(rows=st.integers(1, 5), width=st.sampled_from([1, 16, 96, 100, 1024]), dtype=_DTYPES)
def test_add_rms_norm(rows, width, dtype, tile_table, close) -> None:
    from sagellm_torch.triton.rows import add_rms_norm

    residual, x = _normal(rows, width, dtype=dtype), _normal(rows, width, dtype=dtype, seed=2)
    weight = _normal(width, dtype=dtype, seed=1)
    total = residual + x
    expected = F.rms_norm(total.float(), (width,), weight.float(), _EPS)
    close(add_rms_norm(residual, x, weight, _EPS, tile_table()), expected)
    # The interpreter cuts bfloat16 off where devices round.
    close(residual, total.float())


@_FEW
@given(
    rows=st.integers(1, 3),
    width=st.sampled_from([1, 48, 64, 1025, 2500]),
    name=st.sampled_from(sorted(ACTIVATIONS)),
    scale=st.sampled_from([1.0, 100.0]),
    dtype=_DTYPES,
)
def test_gated_activation(rows, width, name, scale, dtype, tile_table, close) -> None:
    from sagellm_torch.triton.rows import gated_activation

    gate_up = _normal(rows, 2 * width, dtype=dtype)
    gate_up[:, :width] *= scale
    gate, up = gate_up.float().chunk(2, -1)
    close(gated_activation(gate_up, name, tile_table()), ACTIVATIONS[name](gate) * up)


@_FEW
@given(
    heads=st.sampled_from([(1, 1), (4, 2), (7, 1), (3, 3)]),
    head_dim=st.sampled_from([16, 24, 80, 128]),
    partial=st.booleans(),
    normed=st.booleans(),
    dtype=_DTYPES,
)
def test_rotate_and_write(heads, head_dim, partial, normed, dtype, tile_table, close) -> None:
    from sagellm_torch.triton.rows import rotate_and_write

    config = AttentionConfig(
        num_heads=heads[0], num_kv_heads=heads[1], head_dim=head_dim, scale=1.0
    )
    both = sum(heads)
    qkv = _normal(5, (both + heads[1]) * head_dim, dtype=dtype)
    pairs = head_dim // 4 if partial else head_dim // 2
    angles = _normal(5, 1, pairs, seed=3) * 3
    rotations = torch.stack((angles.cos(), angles.sin()), -1)
    norms = _normal(both, head_dim, dtype=dtype, seed=4) if normed else None
    every = qkv.clone().float().view(5, -1, head_dim)
    turned = every[:, :both]
    if norms is not None:
        turned = F.rms_norm(turned, (head_dim,), None, _EPS) * norms.float()
    turned = rotate(turned, rotations)
    layer = tuple(torch.full((3, 4, heads[1], head_dim), -1.0, dtype=dtype) for _ in "kv")
    places = torch.tensor([11, 0, -1, 5, 6])
    query = rotate_and_write(qkv, rotations, layer, places, config, norms, _EPS, tile_table())
    close(query.view(5, heads[0], head_dim), turned[:, : heads[0]])
    kept = places >= 0
    for cache, expected in zip(layer, (turned[:, heads[0] :], every[:, both:]), strict=True):
        flat = cache.view(12, heads[1], head_dim)
        close(flat[places[kept]], expected[kept])
        # Nothing else was touched, for the row without a place neither.
        others = [place for place in range(12) if place not in places]
        assert (flat[others] == -1).all()


def test_write(tile_table) -> None:
    from sagellm_torch.triton.rows import write

    key, value = _normal(3, 2, 24), _normal(3, 2, 24, seed=1)
    layer = (torch.zeros(2, 4, 2, 24), torch.zeros(2, 4, 2, 24))
    write(key, value, layer, torch.tensor([7, -1, 2]), tile_table())
    for cache, new in zip(layer, (key, value), strict=True):
        expected = torch.zeros(8, 2, 24)
        expected[7], expected[2] = new[0], new[2]
        assert torch.equal(cache.view(8, 2, 24), expected)
