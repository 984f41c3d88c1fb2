"""Gated activations: what a layer's gate lets through."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _gelu_tanh(x):
    # tanh by the exponential: sqrt(2 / pi) * (x + 0.044715 x^3), twice.
    twice = tl.minimum(1.5957691216057308 * (x + 0.044715 * x * x * x), 30.0)
    return x * (1.0 - 1.0 / (tl.exp(twice) + 1.0))


@triton.jit
def gated_activation(
    out, gate_up, stride_x, WIDTH: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr
):
    """``activation(gate) * up`` for some outputs of a row.

    :param out: [T, width]. ``gate_up``: [T, 2 * width], rows ``stride_x`` apart.
    :param KIND: ``silu``, ``gelu``, ``gelu_tanh`` or ``relu``.
    """
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < WIDTH
    gate = tl.load(gate_up + row * stride_x + at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * stride_x + WIDTH + at, mask=inside, other=0.0).to(tl.float32)
    if KIND == "silu":
        # exp(-x) would become infinite below -88; from -80 on the product is 0 anyway.
        opened = gate / (1.0 + tl.exp(tl.minimum(-gate, 80.0)))
    elif KIND == "gelu":
        opened = 0.5 * gate * (1.0 + tl.erf(gate * 0.7071067811865476))
    elif KIND == "gelu_tanh":
        opened = _gelu_tanh(gate)
    else:
        opened = tl.maximum(gate, 0.0)
    tl.store(out + row * WIDTH + at, (opened * up).to(out.dtype.element_ty), mask=inside)
