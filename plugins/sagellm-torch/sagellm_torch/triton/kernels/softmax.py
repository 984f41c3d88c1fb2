"""What the attention kernels have in common: scores, and a softmax that takes keys in turns.

The running maximum and sum follow "Online normalizer calculation for softmax" (Milakov and
Gimelshein 2018, arXiv:1805.02867). Exponentials are powers of two, because that is what devices
have instructions for: scores are multiplied by log2(e) first.
"""

from __future__ import annotations

import triton
import triton.language as tl

_LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def scores(q, k, scale, softcap, HAS_CAP: tl.constexpr, WIDEN: tl.constexpr):
    """Scores in units of log2(e), [rows, keys].

    :param q: [rows, head_dim]. ``k``: [head_dim, keys].
    :param softcap: scores become ``softcap * tanh(score / softcap)``.
    :param WIDEN: multiply in float32, where there are no products of the type.
    """
    if WIDEN:
        q = q.to(tl.float32)
        k = k.to(tl.float32)
    # "ieee": float32 stays what it is, and is not rounded to 19 bits where that is quicker.
    product = tl.dot(q, k, input_precision="ieee", out_dtype=tl.float32) * scale
    if HAS_CAP:
        # tanh by the exponential, which every device has. From 15 on it is 1 in float32.
        twice = tl.minimum(2.0 * product / softcap, 30.0)
        product = softcap * (1.0 - 2.0 / (tl.exp(twice) + 1.0))
    return product * _LOG2_E


@triton.jit
def take(acc, highest, total, s, v, WIDEN: tl.constexpr):
    """Take some keys into a running softmax.

    :param acc: [rows, head_dim] weighted values so far. ``highest``, ``total``: [rows].
    :param s: [rows, keys] scores; -inf where a row does not see a key.
    :param v: [keys, head_dim].
    """
    new = tl.maximum(highest, tl.max(s, 1))
    # A row that has not seen any key yet: -inf minus -inf would be NaN.
    base = tl.where(new == float("-inf"), 0.0, new)
    weights = tl.exp2(s - base[:, None])
    shrink = tl.exp2(highest - base)
    total = total * shrink + tl.sum(weights, 1)
    acc = acc * shrink[:, None]
    weights = weights.to(v.dtype)
    if WIDEN:
        weights = weights.to(tl.float32)
        v = v.to(tl.float32)
    acc = tl.dot(weights, v, acc, input_precision="ieee")
    return acc, new, total


@triton.jit
def averaged(acc, total):
    """Values over the sum of their weights; 0 where there is none."""
    return acc / tl.where(total > 0.0, total, 1.0)[:, None]
