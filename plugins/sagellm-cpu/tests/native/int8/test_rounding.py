"""What inputs are rounded to, and what becomes of those that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Array = npt.NDArray[np.float32]
Inputs = Callable[[int, int, int], Array]


@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(
    exponent=st.integers(-44, 37),
    inputs=st.integers(1, 130),
    seed=st.integers(0, 1000),
)
def test_rounding_is_by_the_largest_of_a_group(
    kernels: Any, layer: Any, exponent: int, inputs: int, seed: int
) -> None:
    """An identity matrix shows what inputs were rounded to, whatever their magnitude."""
    x = np.random.default_rng(seed).uniform(-1, 1, (2, inputs)) * 10.0**exponent
    x = x.astype(np.float32)
    made = layer(
        8, inputs, np.eye(inputs, dtype=np.int64), np.ones((inputs, 1), np.float32), None, None
    )
    got = kernels.linear(made, x).astype(np.float64)
    largest = np.abs(x.astype(np.float64)).max(axis=1, keepdims=True)
    # Half a step; and steps that are themselves rounded where floats have few bits left.
    assert (np.abs(got - x) <= largest / 253.9 + 127 * 1.5e-45).all()


def test_zeros_give_the_bias_and_rows_stay_apart(kernels: Any, layer: Any) -> None:
    made = layer.random(4, bits=4, out=18, inputs=64, group=32, mins=True, bias=True)
    x = np.zeros((4, 64), np.float32)
    x[1] = 1e30
    x[3, 40] = 1e-40
    got = kernels.linear(made, x)
    assert np.array_equal(got[0], made.bias)
    assert np.array_equal(got[2], made.bias)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("bits", [8, 4])
def test_what_is_no_number_gives_none(
    kernels: Any, layer: Any, sixteenths: Inputs, bits: int, bad: float
) -> None:
    made = layer.random(7, bits=bits, out=40, inputs=96, group=32, mins=bits == 4)
    x = sixteenths(2, 7, 96)
    clean = kernels.linear(made, x)
    x[3, 50] = bad
    got = kernels.linear(made, x)
    assert np.isnan(got[3]).all()
    assert np.array_equal(np.delete(got, 3, axis=0), np.delete(clean, 3, axis=0))
