"""Products of the int8 kernels, against exact integer sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Array = npt.NDArray[np.float32]
Inputs = Callable[[int, int, int], Array]


def _rounded(x: Array, group: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Codes ``[rows, in]`` and scales ``[rows, groups]`` by the rule in linear.h."""
    split = x.astype(np.float64).reshape(len(x), -1, group)
    largest = np.abs(split).max(axis=2)
    scales = largest / 127
    safe = np.where(scales == 0, 1.0, scales)
    codes = np.rint(split / safe[:, :, None]).astype(np.int64)
    return codes.reshape(x.shape), scales


def _exact(layer: Any, x: Array) -> npt.NDArray[np.float64]:
    """Integer sums, then scales and minimums, in float64."""
    codes, scales = _rounded(x, layer.group)
    rows, out = len(x), layer.codes.shape[0]
    result = np.zeros((rows, out))
    for g in range(scales.shape[1]):
        span = slice(g * layer.group, (g + 1) * layer.group)
        sums = codes[:, span] @ layer.codes[:, span].T
        result += scales[:, g, None] * layer.scales[None, :, g] * sums
        if layer.mins is not None:
            total = scales[:, g] * codes[:, span].sum(axis=1)
            result += total[:, None] * layer.mins[None, :, g]
    return result if layer.bias is None else result + layer.bias


_shapes = st.fixed_dictionaries(
    {
        "bits": st.sampled_from((8, 4)),
        "out": st.integers(1, 150),
        "group": st.sampled_from((0, 32, 64, 96)),
        "width": st.integers(1, 5),
        "odd": st.integers(1, 200),
        "mins": st.booleans(),
        "bias": st.booleans(),
        "half": st.booleans(),
        "rows": st.integers(1, 40),
        "threads": st.integers(1, 3),
        "parts": st.integers(1, 4),
        "seed": st.integers(0, 1000),
    }
)


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(_shapes)
def test_products_are_those_of_exact_integer_sums(
    kernels: Any, layer: Any, sixteenths: Inputs, shape: dict[str, int]
) -> None:
    made = layer.drawn(shape)
    inputs = made.codes.shape[1]
    x = sixteenths(shape["seed"], shape["rows"], inputs)
    got = kernels.linear(made, x, threads=shape["threads"], parts=shape["parts"])
    want = _exact(made, x)
    # Each group is one rounding of a sum whose terms are at most this large.
    size = np.abs(x).astype(np.float64) @ np.abs(made.weights()).T + 200
    assert (np.abs(got - want) <= 4e-6 * size).all()


def test_one_scale_a_row_is_exact_to_the_last_bit(
    kernels: Any, layer: Any, sixteenths: Inputs
) -> None:
    """Sums that a float holds, scales that are powers of two: nothing is rounded."""
    for bits in (8, 4):
        made = layer.random(5, bits=bits, out=37, inputs=203, group=203)
        made = layer(bits, 203, made.codes, np.full((37, 1), 0.25, np.float32), None, None)
        x = sixteenths(9, 11, 203) * np.float32(16)
        assert np.array_equal(kernels.linear(made, x), x @ (made.codes.T / 4))


@pytest.mark.parametrize("bits", [8, 4])
def test_extreme_codes_and_inputs_do_not_saturate(kernels: Any, layer: Any, bits: int) -> None:
    extremes = (-128, 127) if bits == 8 else (0, 15)
    for code in extremes:
        for sign in (-1, 1):
            codes = np.full((20, 4096), code)
            made = layer(bits, 4096, codes, np.ones((20, 1), np.float32), None, None)
            x = np.full((3, 4096), sign * 127, np.float32)
            assert (kernels.linear(made, x) == np.float32(127 * sign * code * 4096)).all()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("group", [32, 256])
def test_a_row_does_not_depend_on_its_company(
    kernels: Any, layer: Any, bits: int, group: int
) -> None:
    made = layer.random(2, bits=bits, out=203, inputs=256, group=group, mins=bits == 4, bias=True)
    x = np.random.default_rng(4).standard_normal((41, 256)).astype(np.float32)
    together = kernels.linear(made, x)
    for rows in (1, 2, 3, 5, 6, 7, 13):
        assert np.array_equal(kernels.linear(made, x[:rows]), together[:rows])
    for threads in (2, 3, 7, 20):
        assert np.array_equal(kernels.linear(made, x, threads=threads), together)


def test_more_rows_than_a_block_holds(kernels: Any, layer: Any) -> None:
    made = layer.random(3, bits=4, out=33, inputs=4096, group=128, mins=True)
    x = np.random.default_rng(6).standard_normal((120, 4096)).astype(np.float32)
    together = kernels.linear(made, x)
    assert np.array_equal(kernels.linear(made, x[100:101]), together[100:101])
    assert np.array_equal(kernels.linear(made, x[119:]), together[119:])


def test_adding_onto_what_is_there(kernels: Any, layer: Any, sixteenths: Inputs) -> None:
    made = layer.random(8, bits=8, out=35, inputs=64, group=32, bias=True)
    x = sixteenths(1, 9, 64)
    onto = np.random.default_rng(3).standard_normal((9, 35)).astype(np.float32)
    assert np.array_equal(kernels.linear(made, x, onto=onto), onto + kernels.linear(made, x))


def test_rows_unpack_to_their_weights(kernels: Any, layer: Any) -> None:
    for bits, group, inputs in ((8, 32, 96), (8, 45, 45), (4, 32, 96), (4, 46, 46), (4, 13, 13)):
        made = layer.random(1, bits=bits, out=21, inputs=inputs, group=group, mins=bits == 4)
        weight, _alive = kernels.pack(made, parts=3)
        rows = np.stack([kernels.unpack(weight, row) for row in range(21)])
        assert np.abs(rows - made.weights()).max() <= 1e-5


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("group", [32, 192])
def test_scales_of_16_bits_give_the_same_bits_as_widened_ones(
    kernels: Any, layer: Any, bits: int, group: int
) -> None:
    made = layer.random(4, bits=bits, out=75, inputs=192, group=group, mins=True, half=True)
    wide = replace(made, scales=made.scales.astype(np.float32), mins=made.mins.astype(np.float32))
    x = np.random.default_rng(4).standard_normal((20, 192)).astype(np.float32)
    for rows in (1, 3, 20):
        got, want = kernels.linear(made, x[:rows]), kernels.linear(wide, x[:rows])
        assert np.array_equal(got, want)
    (short, _one), (long, _two) = kernels.pack(made, parts=2), kernels.pack(wide)
    for row in (0, 15, 74):
        assert np.array_equal(kernels.unpack(short, row), kernels.unpack(long, row))
