"""Attention of a decode step: one token a sequence over all of its keys.

The keys of a sequence are cut into parts that are computed at once ("split-KV", as in
Flash-Decoding) and put together by a second kernel. How many parts there are is settled when the
kernel is launched and lengths are read on the device, so a recorded launch is right for any
lengths.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .softmax import averaged, scores, take


# Where a step's numbers lie in the copy that brought them must not compile a kernel again.
@triton.jit(do_not_specialize_on_alignment=["tables", "slots", "lengths"])
def attend_decode(
    out,
    peaks,
    query,
    keys,
    values,
    tables,
    slots,
    lengths,
    scale,
    softcap,
    window,
    stride_query,
    stride_table,
    NUM_HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    SPLITS: tl.constexpr,
    HAS_CAP: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    KV_WIDTH: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """A program takes all query heads of one key-value head over one part of the keys.

    :param out: [B, num_heads, head_dim] with one part, else [B, num_heads, parts, head_dim] in
        float32: what a part alone gives.
    :param peaks: [B, num_heads, parts] logarithms to base 2 of a part's sum of exponentials.
    :param query: [B, num_heads, head_dim], heads side by side.
    :param keys: [num_blocks, block_size, num_kv_heads, head_dim], and ``values``; contiguous.
    :param tables: [slots, width] block tables. ``slots``: [B] which of them are meant.
    :param lengths: [B] keys of each sequence; 0: a row that is not used, whose output is 0.
    """
    row = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1)
    part = tl.program_id(2)
    length = tl.load(lengths + row).to(tl.int32)
    blocks = tables + tl.load(slots + row) * stride_table
    first = 0
    if HAS_WINDOW:
        first = tl.maximum(length - window, 0) // BLOCK_N * BLOCK_N
    turns = tl.cdiv(tl.cdiv(length - first, BLOCK_N), SPLITS)
    begin_at = first + part * turns * BLOCK_N
    end_at = tl.minimum(begin_at + turns * BLOCK_N, length)

    at_g = tl.arange(0, BLOCK_G)
    at_d = tl.arange(0, BLOCK_D)
    heads = kv_head * GROUPS + at_g
    inside = (at_g < GROUPS)[:, None]
    if HEAD_DIM != BLOCK_D:
        inside = inside & (at_d < HEAD_DIM)[None, :]
    q = tl.load(
        query + row * stride_query + heads[:, None] * HEAD_DIM + at_d[None, :],
        mask=inside,
        other=0.0,
    )
    keys += kv_head * HEAD_DIM
    values += kv_head * HEAD_DIM
    acc = tl.zeros([BLOCK_G, BLOCK_D], tl.float32)
    highest = tl.full([BLOCK_G], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_G], tl.float32)
    for begin in range(begin_at, end_at, BLOCK_N):
        at = begin + tl.arange(0, BLOCK_N)
        there = at < end_at
        block = tl.load(blocks + at // BLOCK_SIZE, mask=there, other=0)
        place = (block * BLOCK_SIZE + at % BLOCK_SIZE) * KV_WIDTH
        in_k = there[None, :]
        in_v = there[:, None]
        if HEAD_DIM != BLOCK_D:
            in_k = in_k & (at_d[:, None] < HEAD_DIM)
            in_v = in_v & (at_d[None, :] < HEAD_DIM)
        k = tl.load(keys + place[None, :] + at_d[:, None], mask=in_k, other=0.0)
        s = scores(q, k, scale, softcap, HAS_CAP, WIDEN)
        seen = there
        if HAS_WINDOW:
            seen = seen & (at >= length - window)
        s = tl.where(seen[None, :], s, float("-inf"))
        v = tl.load(values + place[:, None] + at_d[None, :], mask=in_v, other=0.0)
        acc, highest, total = take(acc, highest, total, s, v, WIDEN)
    acc = averaged(acc, total)
    if SPLITS == 1:
        place = (row * NUM_HEADS + heads[:, None]) * HEAD_DIM + at_d[None, :]
        tl.store(out + place, acc.to(out.dtype.element_ty), mask=inside)
    else:
        places = (row * NUM_HEADS + heads) * SPLITS + part
        # A part without keys weighs nothing.
        some = total > 0.0
        peak = tl.where(some, highest + tl.log2(tl.where(some, total, 1.0)), float("-inf"))
        tl.store(peaks + places, peak, mask=at_g < GROUPS)
        tl.store(out + places[:, None] * HEAD_DIM + at_d[None, :], acc, mask=inside)


@triton.jit
def combine(
    out,
    parts,
    peaks,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """Put the parts of one head of one sequence together.

    :param out: [B * num_heads, head_dim]. ``parts``: [B * num_heads, parts, head_dim], float32.
    :param peaks: [B * num_heads, parts].
    """
    head = tl.program_id(0).to(tl.int64)
    at_s = tl.arange(0, SPLITS)
    at_d = tl.arange(0, BLOCK_D)
    peak = tl.load(peaks + head * SPLITS + at_s)
    highest = tl.max(peak, 0)
    weights = tl.exp2(peak - tl.where(highest == float("-inf"), 0.0, highest))
    total = tl.sum(weights, 0)
    inside = at_d < HEAD_DIM
    # Parts that weigh nothing are not read: most, where sequences are short.
    part = tl.load(
        parts + (head * SPLITS + at_s[:, None]) * HEAD_DIM + at_d[None, :],
        mask=inside[None, :] & (weights > 0.0)[:, None],
        other=0.0,
    )
    summed = tl.sum(part * weights[:, None], 0) / tl.where(total > 0.0, total, 1.0)
    tl.store(out + head * HEAD_DIM + at_d, summed.to(out.dtype.element_ty), mask=inside)
