"""RMS norm, alone and with the addition before it."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rms_norm(out, x, weight, eps, stride_x, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """A program takes a row. ``out``: [T, width]; ``x``: [T, width], rows ``stride_x`` apart."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < WIDTH
    value = tl.load(x + row * stride_x + at, mask=inside, other=0.0).to(tl.float32)
    factor = tl.rsqrt(tl.sum(value * value, 0) / WIDTH + eps)
    scaled = value * factor * tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * WIDTH + at, scaled.to(out.dtype.element_ty), mask=inside)


@triton.jit
def add_rms_norm(out, residual, x, weight, eps, stride_x, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """The same of ``residual + x``, which is left in ``residual``, [T, width]."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < WIDTH
    kept = residual + row * WIDTH + at
    value = tl.load(x + row * stride_x + at, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(kept, mask=inside, other=0.0).to(tl.float32)
    # The norm is of what the next addition will see: the sum as it is rounded.
    rounded = value.to(residual.dtype.element_ty)
    tl.store(kept, rounded, mask=inside)
    value = rounded.to(tl.float32)
    factor = tl.rsqrt(tl.sum(value * value, 0) / WIDTH + eps)
    scaled = value * factor * tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * WIDTH + at, scaled.to(out.dtype.element_ty), mask=inside)
