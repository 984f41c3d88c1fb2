"""Products in float arithmetic over weights of every format, against sums in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Array = npt.NDArray[np.float32]

_KINDS = ("f32", "f16", "bf16", "q8", "q4")


def _inputs(seed: int, rows: int, inputs: int) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, inputs)).astype(np.float32)


def _assert_close(got: Array, layer: Any, x: Array, onto: Array | float = 0.0) -> None:
    """Within what one rounding per input and weight can make of the sum."""
    wide = x.astype(np.float64)
    want = wide @ layer.weights.T + onto + (0.0 if layer.bias is None else layer.bias)
    magnitude = np.abs(layer.weights)
    if layer.mins is not None:
        # A weight is rounded once, at the size of its scaled byte and its minimum.
        magnitude = magnitude + 2 * np.repeat(np.abs(layer.mins), layer.group, axis=1)
        magnitude = magnitude + 256 * np.repeat(layer.scales, layer.group, axis=1)
    size = np.abs(wide) @ magnitude.T + 2
    assert (np.abs(got - want) <= (x.shape[1] + 4) * 2.0**-24 * size).all()


_shapes = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(_KINDS),
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
        "add": st.booleans(),
        "seed": st.integers(0, 1000),
    }
)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(_shapes)
def test_products_are_those_of_float64(kernels: Any, layer: Any, shape: dict[str, Any]) -> None:
    inputs = shape["group"] * shape["width"] if shape["group"] else shape["odd"]
    made = layer.random(
        shape["seed"],
        shape["kind"],
        out=shape["out"],
        inputs=inputs,
        group=shape["group"],
        mins=shape["mins"],
        bias=shape["bias"],
        half=shape["half"],
    )
    x = _inputs(shape["seed"], shape["rows"], inputs)
    onto = _inputs(1, shape["rows"], shape["out"]) if shape["add"] else None
    more = {"threads": shape["threads"], "parts": shape["parts"], "onto": onto}
    got = kernels.linear(made, x, few=False, **more)
    _assert_close(got, made, x, 0.0 if onto is None else onto)
    few = min(shape["rows"], kernels.few_rows(made))
    more["onto"] = None if onto is None else onto[:few]
    assert np.array_equal(kernels.linear(made, x[:few], few=True, **more), got[:few])


@pytest.mark.parametrize("kind", _KINDS)
def test_inputs_and_rows_of_several_blocks(kernels: Any, layer: Any, kind: str) -> None:
    """More inputs than are widened at a time, and more rows than sums are kept of."""
    made = layer.random(3, kind, out=35, inputs=2304, group=128, mins=kind == "q4", bias=True)
    x = _inputs(6, 205, 2304)
    together = kernels.linear(made, x, few=False)
    _assert_close(together, made, x)
    assert np.array_equal(kernels.linear(made, x[200:201], few=True), together[200:201])
    assert np.array_equal(kernels.linear(made, x[190:], few=False), together[190:])


@pytest.mark.parametrize("kind", _KINDS)
def test_inputs_that_end_within_a_step_of_a_later_block(
    kernels: Any, layer: Any, kind: str
) -> None:
    for inputs in (1537, 1543, 4099):
        made = layer.random(5, kind, out=17, inputs=inputs, mins=kind == "q4")
        x = _inputs(2, 5, inputs)
        together = kernels.linear(made, x, few=False)
        _assert_close(together, made, x)
        assert np.array_equal(kernels.linear(made, x[:1], few=True), together[:1])


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize(("inputs", "group"), [(256, 32), (203, 0)])
def test_a_row_does_not_depend_on_its_company(
    kernels: Any, layer: Any, kind: str, inputs: int, group: int
) -> None:
    made = layer.random(2, kind, out=331, inputs=inputs, group=group, mins=kind == "q4", bias=True)
    x = _inputs(4, 41, inputs)
    together = kernels.linear(made, x, few=False)
    for rows in range(1, 32):
        assert np.array_equal(kernels.linear(made, x[:rows], few=False), together[:rows])
        if rows <= kernels.few_rows(made):
            for threads in (1, 2, 5):
                alone = kernels.linear(made, x[:rows], few=True, threads=threads)
                assert np.array_equal(alone, together[:rows])
    for threads in (2, 3, 7, 30):
        assert np.array_equal(kernels.linear(made, x, few=False, threads=threads), together)


@pytest.mark.parametrize("kind", _KINDS)
def test_sums_of_small_integers_are_exact(kernels: Any, layer: Any, kind: str) -> None:
    made = layer.random(9, kind, out=49, inputs=96)
    if kind in ("q8", "q4"):
        codes = np.rint(made.weights / made.scales)
        halves = np.full_like(made.scales, 0.5)
        made = layer(made.format, 96, made.source, codes / 2, halves)
    else:
        numbers = np.rint(made.weights * 16).astype(np.float32)
        made = layer._floats(kind, numbers, None)
    x = np.rint(4 * _inputs(3, 13, 96))
    want = x.astype(np.float64) @ made.weights.T
    assert np.array_equal(kernels.linear(made, x, few=False), want)
    assert np.array_equal(kernels.linear(made, x[:1], few=True), want[:1])


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_stays_in_its_row(
    kernels: Any, layer: Any, kind: str, bad: float
) -> None:
    made = layer.random(7, kind, out=40, inputs=96)
    x = _inputs(2, 7, 96)
    clean = kernels.linear(made, x, few=False)
    x[3, 50] = bad
    got = kernels.linear(made, x, few=False)
    assert not np.isfinite(got[3][made.weights[:, 50] != 0]).any()
    assert np.array_equal(np.delete(got, 3, axis=0), np.delete(clean, 3, axis=0))


@pytest.mark.parametrize("kind", ["q8", "q4"])
@pytest.mark.parametrize("inputs", [192, 203])
def test_scales_of_16_bits_give_the_same_bits_as_widened_ones(
    kernels: Any, layer: Any, kind: str, inputs: int
) -> None:
    group = 32 if inputs == 192 else 0
    made = layer.random(4, kind, out=75, inputs=inputs, group=group, mins=True, half=True)
    wide = replace(made, scales=made.scales.astype(np.float32), mins=made.mins.astype(np.float32))
    x = _inputs(4, 20, inputs)
    for rows, few in ((1, True), (kernels.few_rows(made), True), (20, False)):
        got = kernels.linear(made, x[:rows], few=few)
        assert np.array_equal(got, kernels.linear(wide, x[:rows], few=few))
    assert np.array_equal(kernels.unpack(made, parts=2), kernels.unpack(wide))
