"""Rows read back from packed weights, as embeddings are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8", "q4"])
@pytest.mark.parametrize(("out", "inputs"), [(1, 1), (21, 13), (48, 96)])
def test_rows_are_the_weights_to_the_last_bit(
    kernels: Any, layer: Any, kind: str, out: int, inputs: int
) -> None:
    """Without minimums a weight is rounded once, as float64 rounded to float32 is."""
    made = layer.random(1, kind, out=out, inputs=inputs)
    assert np.array_equal(kernels.unpack(made, parts=2), made.weights.astype(np.float32))


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8", "q4"])
def test_products_use_the_same_weights(kernels: Any, layer: Any, kind: str) -> None:
    made = layer.random(8, kind, out=37, inputs=45)
    want = kernels.unpack(made).T
    unit = np.eye(45, dtype=np.float32)
    got = kernels.linear(made, unit, few=False)
    if kind != "q8" or kernels.fused:
        assert np.array_equal(got, want)
    else:
        # Bytes of kQ8 are 128 more than their codes: what is taken off is rounded of its own.
        assert (np.abs(got - want) <= 256 * 2.0**-24 * made.scales.T).all()
    for k in (0, 7, 44):
        assert np.array_equal(kernels.linear(made, unit[k : k + 1], few=True), got[k : k + 1])


@pytest.mark.parametrize("kind", ["q8", "q4"])
def test_minimums_are_added_to_every_code_of_their_group(
    kernels: Any, layer: Any, kind: str
) -> None:
    made = layer.random(1, kind, out=21, inputs=96, group=32, mins=True)
    assert np.abs(kernels.unpack(made, parts=3) - made.weights).max() <= 2e-6


def test_every_half_precision_number_is_widened_exactly(kernels: Any, layer: Any) -> None:
    """Subnormals, infinities and both zeros too; of what is no number, that it is none."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    made = layer(1, 256, every, every.astype(np.float64))
    want = every.astype(np.float32)
    got = kernels.unpack(made)
    numbers = ~np.isnan(want)
    assert np.array_equal(got.view(np.uint32)[numbers], want.view(np.uint32)[numbers])
    assert np.isnan(got[~numbers]).all()
    # The kernels widen by instructions of their own: multiplied with one input at a time.
    finite = np.where(np.isfinite(want), every, np.float16(0))
    made = layer(1, 256, finite, finite.astype(np.float64))
    unit = np.eye(256, dtype=np.float32)
    assert np.array_equal(kernels.linear(made, unit, few=False), finite.astype(np.float32).T)
