"""Attention of a prefill: chunks of sequences over their cached prefixes and themselves."""

from __future__ import annotations

import triton
import triton.language as tl

from .softmax import averaged, scores, take


@triton.jit
def _keys(
    acc,
    highest,
    total,
    q,
    q_at,
    first,
    last,
    blocks,
    keys,
    values,
    scale,
    softcap,
    window,
    MASKED: tl.constexpr,
    HAS_CAP: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    KV_WIDTH: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Take the keys at positions ``first`` to ``last - 1``; masked: rows may not see them all."""
    at_d = tl.arange(0, BLOCK_D)
    for begin in range(first, last, BLOCK_N):
        at = begin + tl.arange(0, BLOCK_N)
        # Without masks ``last`` ends a whole turn.
        there = at < last if MASKED else at >= first
        block = tl.load(blocks + at // BLOCK_SIZE, mask=there, other=0)
        place = (block * BLOCK_SIZE + at % BLOCK_SIZE) * KV_WIDTH
        in_k = there[None, :]
        in_v = there[:, None]
        if HEAD_DIM != BLOCK_D:
            in_k = in_k & (at_d[:, None] < HEAD_DIM)
            in_v = in_v & (at_d[None, :] < HEAD_DIM)
        k = tl.load(keys + place[None, :] + at_d[:, None], mask=in_k, other=0.0)
        s = scores(q, k, scale, softcap, HAS_CAP, WIDEN)
        if MASKED:
            seen = (at[None, :] <= q_at[:, None]) & there[None, :]
            if HAS_WINDOW:
                seen = seen & (at[None, :] > q_at[:, None] - window)
            s = tl.where(seen, s, float("-inf"))
        v = tl.load(values + place[:, None] + at_d[None, :], mask=in_v, other=0.0)
        acc, highest, total = take(acc, highest, total, s, v, WIDEN)
    return acc, highest, total


# Where a step's numbers lie in the copy that brought them must not compile a kernel again.
@triton.jit(do_not_specialize_on_alignment=["blocks", "tiles"])
def attend_prefill(
    out,
    query,
    keys,
    values,
    blocks,
    tiles,
    scale,
    softcap,
    window,
    stride_out,
    stride_query,
    GROUPS: tl.constexpr,
    HAS_CAP: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    KV_WIDTH: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """A program takes one query head of up to ``BLOCK_M`` tokens of one chunk.

    :param out: [T, num_heads, head_dim]; heads side by side. ``query``: the same.
    :param keys: [num_blocks, block_size, num_kv_heads, head_dim], and ``values``; contiguous.
    :param blocks: [n] block tables of all chunks, one after the other.
    :param tiles: [programs, 4]: first row of T; rows; position of the first in its sequence;
        where the sequence's table begins in ``blocks``.
    """
    head = tl.program_id(0)
    tile = tiles + tl.program_id(1) * 4
    row = tl.load(tile)
    count = tl.load(tile + 1).to(tl.int32)
    position = tl.load(tile + 2).to(tl.int32)
    blocks += tl.load(tile + 3)
    keys += (head // GROUPS) * HEAD_DIM
    values += (head // GROUPS) * HEAD_DIM

    at_m = tl.arange(0, BLOCK_M)
    at_d = tl.arange(0, BLOCK_D)
    q_at = position + at_m
    inside = (at_m < count)[:, None]
    if HEAD_DIM != BLOCK_D:
        inside = inside & (at_d < HEAD_DIM)[None, :]
    rows = row + at_m
    q = tl.load(
        query + rows[:, None] * stride_query + head * HEAD_DIM + at_d[None, :],
        mask=inside,
        other=0.0,
    )
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)

    end = position + count
    if HAS_WINDOW:
        # The first key that the first row sees; rows after it may see less.
        first = tl.maximum(0, position - window + 1) // BLOCK_N * BLOCK_N
        open_until = first
    else:
        first = 0
        # Every row sees all keys up to the first row's own.
        open_until = (position + 1) // BLOCK_N * BLOCK_N
        acc, highest, total = _keys(
            acc, highest, total, q, q_at, 0, open_until, blocks, keys, values,
            scale, softcap, window,
            False, HAS_CAP, HAS_WINDOW, WIDEN, BLOCK_SIZE, KV_WIDTH, HEAD_DIM, BLOCK_D, BLOCK_N,
        )  # fmt: skip
    acc, highest, total = _keys(
        acc, highest, total, q, q_at, open_until, end, blocks, keys, values,
        scale, softcap, window,
        True, HAS_CAP, HAS_WINDOW, WIDEN, BLOCK_SIZE, KV_WIDTH, HEAD_DIM, BLOCK_D, BLOCK_N,
    )  # fmt: skip
    # Rows past the chunk saw keys too, as if they were its last; they are not kept.
    tl.store(
        out + rows[:, None] * stride_out + head * HEAD_DIM + at_d[None, :],
        averaged(acc, total).to(out.dtype.element_ty),
        mask=inside,
    )
