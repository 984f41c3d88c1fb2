"""Norms, activations and rotations, against float64."""

from __future__ import annotations

import ctypes

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sagellm_torch.rotary import rotate

_SIZES = (1, 15, 16, 17, 63, 64, 65, 200)
_KINDS = {
    0: F.silu,
    1: F.gelu,
    2: lambda x: F.gelu(x, approximate="tanh"),
    3: F.relu,
}


def _pointer(tensor: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _activated(parts: ctypes.CDLL, kind: int, gate: torch.Tensor, up: torch.Tensor):
    out = torch.full_like(gate, 9.0)
    parts.activated(kind, _pointer(gate), _pointer(up), ctypes.c_int64(gate.numel()), _pointer(out))
    return out


@pytest.mark.parametrize("kind", _KINDS)
def test_activations_over_their_whole_range(parts, kind) -> None:
    gate = torch.cat((torch.linspace(-120, 120, 40_001), torch.logspace(-30, 30, 2_000)))
    gate = torch.cat((gate, -gate, torch.zeros(3)))
    ones = torch.ones_like(gate)
    exact = _KINDS[kind](gate.double())
    # Against the size of the input: near zero of the function what is small is small beside it.
    error = (_activated(parts, kind, gate, ones) - exact).abs() / gate.abs().clamp(min=1e-3)
    assert error.max() < 1e-6


@pytest.mark.parametrize("kind", _KINDS)
def test_an_activation_of_what_is_no_number_is_none(parts, kind) -> None:
    gate = torch.tensor([float("nan"), 1.0])
    out = _activated(parts, kind, gate, torch.ones(2))
    assert out.isnan().tolist() == [True, False]


@pytest.mark.parametrize("kind", _KINDS)
def test_an_element_does_not_depend_on_its_place(parts, kind) -> None:
    gate = torch.randn(77, generator=torch.Generator().manual_seed(1)) * 4
    whole = _activated(parts, kind, gate, gate)
    for start in (1, 5, 16, 70):
        rest = gate[start:].clone()
        assert torch.equal(_activated(parts, kind, rest, rest), whole[start:])


@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(size=st.integers(1, 300), seed=st.integers(0, 99), spread=st.sampled_from((1e-4, 1, 1e4)))
def test_norms(parts, size, seed, spread) -> None:
    made = torch.Generator().manual_seed(seed)
    x, weight = torch.randn(size, generator=made) * spread, torch.randn(size, generator=made)
    out = torch.empty(size)
    parts.norm(
        _pointer(x), _pointer(weight), ctypes.c_int64(size), ctypes.c_float(1e-6), _pointer(out)
    )
    exact = F.rms_norm(x.double(), (size,), weight.double(), 1e-6)
    torch.testing.assert_close(out.double(), exact, atol=1e-7, rtol=1e-6)


@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    size=st.integers(1, 300),
    seed=st.integers(0, 99),
    spread=st.sampled_from((1e-2, 1, 1e4)),
    place=st.sampled_from((0, 100)),
)
def test_layer_norms(parts, size, seed, spread, place) -> None:
    made = torch.Generator().manual_seed(seed)
    x, weight, bias = (torch.randn(size, generator=made) for _ in range(3))
    x = (x + place) * spread
    out = torch.empty(size)
    parts.layer_normed(
        *(_pointer(tensor) for tensor in (x, weight, bias)),
        ctypes.c_int64(size),
        ctypes.c_float(1e-5),
        _pointer(out),
    )
    exact = F.layer_norm(x.double(), (size,), weight.double(), bias.double(), 1e-5)
    # Numbers far from zero have fewer digits for their differences.
    torch.testing.assert_close(out.double(), exact, atol=1e-4 if place else 2e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", _KINDS)
def test_an_activation_alone(parts, kind) -> None:
    gate = torch.randn(77, generator=torch.Generator().manual_seed(1)) * 4
    out = torch.empty(77)
    parts.activated(kind, _pointer(gate), None, ctypes.c_int64(77), _pointer(out))
    assert torch.equal(out, _activated(parts, kind, gate, torch.ones(77)))


@pytest.mark.parametrize("size", _SIZES)
def test_soft_caps(parts, size) -> None:
    x = torch.linspace(-300, 300, size)
    out = x.clone()
    parts.capped(_pointer(out), ctypes.c_int64(size), ctypes.c_float(30.0))
    exact = 30 * torch.tanh(x.double() / 30)
    torch.testing.assert_close(out.double(), exact, atol=2e-5, rtol=1e-6)


@pytest.mark.parametrize(("rotary", "size"), [(24, 24), (16, 40), (2, 3), (64, 64)])
@pytest.mark.parametrize("in_place", [False, True])
def test_rotations(parts, rotary, size, in_place) -> None:
    made = torch.Generator().manual_seed(size)
    x = torch.randn(size, generator=made)
    angles = torch.randn(rotary // 2, generator=made) * 3
    rotation = torch.stack((angles.cos(), angles.sin()), dim=-1)
    exact = rotate(x.view(1, 1, size), rotation.view(1, 1, -1, 2)).flatten()
    out = x.clone() if in_place else torch.empty(size)
    source = out if in_place else x
    parts.rotated(
        _pointer(source),
        _pointer(rotation),
        ctypes.c_int64(rotary),
        ctypes.c_int64(size),
        _pointer(out),
    )
    torch.testing.assert_close(out, exact, atol=1e-6, rtol=1e-6)
