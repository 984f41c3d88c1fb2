"""Between the q/k/v layer and attention: head norms, rotations, and the KV cache's new tokens."""

from __future__ import annotations

import triton
import triton.language as tl


# Where a step's numbers lie in the copy that brought them must not compile a kernel again.
@triton.jit(do_not_specialize_on_alignment=["places"])
def rotate_and_write(
    qkv,
    keys,
    values,
    rotations,
    norms,
    places,
    eps,
    stride_qkv,
    NUM_HEADS: tl.constexpr,
    NUM_KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAIRS: tl.constexpr,
    HAS_NORM: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """A program takes some heads of a token: queries stay in place, keys and values are written.

    :param qkv: [T, num_heads + 2 * num_kv_heads, head_dim], pairs adjacent.
    :param keys: [num_blocks * block_size, num_kv_heads, head_dim], and ``values``.
    :param rotations: [T, pairs, 2]: cosine and sine; heads past ``2 * pairs`` are not rotated.
    :param norms: [num_heads + num_kv_heads, head_dim].
    :param places: [T] tokens of the cache; below 0: nothing is written.
    """
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    pair = tl.arange(0, BLOCK_P)
    at = head[:, None] * HEAD_DIM + 2 * pair[None, :]
    inside = (head < NUM_HEADS + 2 * NUM_KV_HEADS)[:, None] & (2 * pair < HEAD_DIM)[None, :]
    # Values are neither normed nor rotated.
    turned = (head < NUM_HEADS + NUM_KV_HEADS)[:, None]
    source = qkv + row * stride_qkv + at
    first = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(source + 1, mask=inside, other=0.0).to(tl.float32)
    if HAS_NORM:
        squares = tl.sum(first * first + second * second, 1) / HEAD_DIM
        factor = tl.rsqrt(squares + eps)[:, None]
        weighed = inside & turned
        first_weight = tl.load(norms + at, mask=weighed, other=1.0).to(tl.float32)
        second_weight = tl.load(norms + at + 1, mask=weighed, other=1.0).to(tl.float32)
        first = tl.where(turned, first * factor * first_weight, first)
        second = tl.where(turned, second * factor * second_weight, second)
    rotation = rotations + row * (2 * PAIRS) + 2 * pair
    cosine = tl.load(rotation, mask=pair < PAIRS, other=1.0)[None, :]
    sine = tl.load(rotation + 1, mask=pair < PAIRS, other=0.0)[None, :]
    left = tl.where(turned, first * cosine - second * sine, first).to(qkv.dtype.element_ty)
    right = tl.where(turned, first * sine + second * cosine, second).to(qkv.dtype.element_ty)

    is_query = inside & (head < NUM_HEADS)[:, None]
    tl.store(source, left, mask=is_query)
    tl.store(source + 1, right, mask=is_query)
    place = tl.load(places + row)
    written = inside & (place >= 0)
    cached = place * (NUM_KV_HEADS * HEAD_DIM) + at
    is_key = written & turned & (head >= NUM_HEADS)[:, None]
    key = keys + cached - NUM_HEADS * HEAD_DIM
    tl.store(key, left, mask=is_key)
    tl.store(key + 1, right, mask=is_key)
    is_value = written & (head >= NUM_HEADS + NUM_KV_HEADS)[:, None]
    value = values + cached - (NUM_HEADS + NUM_KV_HEADS) * HEAD_DIM
    tl.store(value, left, mask=is_value)
    tl.store(value + 1, right, mask=is_value)


@triton.jit(do_not_specialize_on_alignment=["places"])
def write(
    key,
    value,
    keys,
    values,
    places,
    stride_key,
    stride_value,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Put a token's key and value, each ``width`` elements, into the cache at its place."""
    row = tl.program_id(0).to(tl.int64)
    place = tl.load(places + row)
    at = tl.arange(0, BLOCK)
    mask = (at < WIDTH) & (place >= 0)
    tl.store(keys + place * WIDTH + at, tl.load(key + row * stride_key + at, mask=mask), mask=mask)
    tl.store(
        values + place * WIDTH + at, tl.load(value + row * stride_value + at, mask=mask), mask=mask
    )
