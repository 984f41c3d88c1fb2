"""Paged attention by kernels: what :mod:`sagellm_torch.attention` is in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from triton.runtime import JITFunction

from sagellm_torch.attention import AttentionConfig
from sagellm_torch.step import DecodeStep, PrefillStep

from .kernels import decode as decode_kernels
from .kernels import prefill as prefill_kernels
from .tiles import AttentionTile, TileTable, padded

_Layer = tuple[torch.Tensor, torch.Tensor]


def attend_prefill(
    query: torch.Tensor,
    layer: _Layer,
    step: PrefillStep,
    config: AttentionConfig,
    tile: AttentionTile,
    upload: Callable[[Sequence[int]], torch.Tensor],
) -> torch.Tensor:
    """Attention of each chunk over its cached prefix and itself, whose keys are written already.

    :param query: [T, num_heads * head_dim]; its rows may lie apart.
    :param layer: keys and values, each [num_blocks, block_size, num_kv_heads, head_dim].
    :returns: [T, num_heads * head_dim].
    """
    blocks, tiles = _prefill_plan(step, tile.block_m, upload)
    keys, values = layer
    out = query.new_empty(query.shape)
    prefill_kernels.attend_prefill[(config.num_heads, tiles.shape[0])](
        out,
        query,
        keys,
        values,
        blocks,
        tiles,
        config.scale,
        config.softcap or 0.0,
        config.sliding_window or 0,
        out.stride(0),
        query.stride(0),
        GROUPS=config.num_heads // config.num_kv_heads,
        HAS_CAP=config.softcap is not None,
        HAS_WINDOW=config.sliding_window is not None,
        WIDEN=_widens(query.dtype),
        BLOCK_SIZE=keys.shape[1],
        KV_WIDTH=config.num_kv_heads * config.head_dim,
        HEAD_DIM=config.head_dim,
        BLOCK_D=padded(config.head_dim),
        BLOCK_M=tile.block_m,
        BLOCK_N=tile.block_n,
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )
    return out


def _widens(dtype: torch.dtype) -> bool:
    """Triton's interpreter, which tests run in, takes bfloat16 for integers in products."""
    return dtype is torch.bfloat16 and not isinstance(decode_kernels.attend_decode, JITFunction)


def _prefill_plan(
    step: PrefillStep, block_m: int, upload: Callable[[Sequence[int]], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """All chunks' block tables one after the other, and what each program does, [programs, 4]."""
    name = f"prefill-{block_m}"
    plan: tuple[torch.Tensor, torch.Tensor] | None = step.prepared.get(name)
    if plan is None:
        tiles = []
        table = 0
        for segment in step.segments:
            for first in range(0, segment.count, block_m):
                rows = min(block_m, segment.count - first)
                tiles.append((segment.first + first, rows, segment.start + first, table))
            table += segment.blocks.numel()
        # Those with the most keys begin first, so that none of them is left over at the end.
        tiles.sort(key=lambda tile: -tile[2])
        told = upload([number for tile in tiles for number in tile])
        blocks = torch.cat([segment.blocks for segment in step.segments])
        plan = step.prepared[name] = (blocks, told.view(-1, 4))
    return plan


def attend_decode(
    query: torch.Tensor,
    layer: _Layer,
    step: DecodeStep,
    config: AttentionConfig,
    tiles: TileTable,
) -> torch.Tensor:
    """Attention of one token a sequence over all of its keys, which are written already.

    Nothing of the step is read on the host, so a launch may be recorded and replayed.

    :param query: [B, num_heads * head_dim]; its rows may lie apart.
    :returns: [B, num_heads * head_dim]; 0 in rows whose length is 0.
    """
    keys, values = layer
    batch, heads, head_dim = query.shape[0], config.num_heads, config.head_dim
    groups = heads // config.num_kv_heads
    tile = tiles.decode_tile(head_dim, query.dtype.itemsize, groups)
    splits = tiles.splits(batch, config.num_kv_heads)
    out = query.new_empty(batch, heads * head_dim)
    parts, peaks = out, out
    if splits > 1:
        parts = query.new_empty((batch, heads, splits, head_dim), dtype=torch.float32)
        peaks = query.new_empty((batch, heads, splits), dtype=torch.float32)
    decode_kernels.attend_decode[(batch, config.num_kv_heads, splits)](
        parts,
        peaks,
        query,
        keys,
        values,
        step.state.tables,
        step.slots,
        step.lengths,
        config.scale,
        config.softcap or 0.0,
        config.sliding_window or 0,
        query.stride(0),
        step.state.tables.stride(0),
        NUM_HEADS=heads,
        GROUPS=groups,
        SPLITS=splits,
        HAS_CAP=config.softcap is not None,
        HAS_WINDOW=config.sliding_window is not None,
        WIDEN=_widens(query.dtype),
        BLOCK_SIZE=keys.shape[1],
        KV_WIDTH=config.num_kv_heads * head_dim,
        HEAD_DIM=head_dim,
        BLOCK_D=padded(head_dim),
        BLOCK_G=padded(groups),
        BLOCK_N=tile.block_n,
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )
    if splits > 1:
        decode_kernels.combine[(batch * heads,)](
            out,
            parts,
            peaks,
            HEAD_DIM=head_dim,
            BLOCK_D=padded(head_dim),
            SPLITS=splits,
            num_warps=4,
        )
    return out
