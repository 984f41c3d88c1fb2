"""Attention over a block-table KV cache in plain torch operators.

It runs on every torch device. A device with a paged-attention kernel of its own overrides
:meth:`DeviceAdapter.attend_prefill` and :meth:`DeviceAdapter.attend_decode` instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .step import DecodeStep, PrefillStep, Segment

_Layer = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionConfig:
    """What attention has to know about a layer."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    #: Multiplies the scores.
    scale: float
    #: Scores become ``cap * tanh(score / cap)``; ``None``: no cap.
    softcap: float | None = None
    #: A token sees itself and the ``sliding_window - 1`` tokens before it; ``None``: all.
    sliding_window: int | None = None


class GatherWorkspace:
    """Memory into which a layer's blocks are gathered, reused from layer to layer and step.

    Fresh memory for each gather costs more in page faults than the copy itself.
    """

    def __init__(self) -> None:
        self._buffers: dict[int, torch.Tensor] = {}

    def gather(self, which: int, cache: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
        """``cache[blocks]``, [n, block_size, num_kv_heads, head_dim]; valid until the next call.

        :param which: a buffer's number, so that keys and values can live side by side.
        """
        needed = blocks.numel() * cache[0].numel()
        buffer = self._buffers.get(which)
        if buffer is None or buffer.numel() < needed or buffer.dtype != cache.dtype:
            # Grow by half, so that a sequence does not reallocate with every block it gains.
            buffer = torch.empty(needed + needed // 2, dtype=cache.dtype, device=cache.device)
            self._buffers[which] = buffer
        out = buffer[:needed].view(blocks.numel(), *cache.shape[1:])
        return torch.index_select(cache, 0, blocks, out=out)

    def close(self) -> None:
        """Give the memory back."""
        self._buffers.clear()


def write(layer: _Layer, key: torch.Tensor, value: torch.Tensor, index: torch.Tensor) -> None:
    """Put keys and values, each [T, num_kv_heads, head_dim], at token places ``index`` [T]."""
    for cache, new in zip(layer, (key, value), strict=True):
        cache.view(-1, *cache.shape[2:]).index_copy_(0, index, new)


def attend_prefill(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layer: _Layer,
    step: PrefillStep,
    config: AttentionConfig,
    workspace: GatherWorkspace,
) -> torch.Tensor:
    """Attention of each chunk over its sequence's prefix and itself.

    The chunks' keys and values are in the cache already.

    :param query: [T, num_heads, head_dim]; ``key``, ``value``: [T, num_kv_heads, head_dim].
    :returns: [T, num_heads * head_dim].
    """
    outputs = []
    for segment in step.segments:
        rows = slice(segment.first, segment.first + segment.count)
        lowest = _lowest_key(segment.start, config.sliding_window)
        if segment.start == 0:
            keys, values, origin = key[rows], value[rows], 0
        else:
            keys, values, origin = _context(segment, layer, lowest, workspace)
        outputs.append(_attend_segment(query[rows], keys, values, origin, segment, config))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _lowest_key(first_query: int, window: int | None) -> int:
    """The first position that the first query (so any of them) can see."""
    return 0 if window is None else max(0, first_query - window + 1)


def _context(
    segment: Segment, layer: _Layer, lowest: int, workspace: GatherWorkspace
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Keys and values [n, num_kv_heads, head_dim] of a sequence, and the first one's position."""
    block_size = layer[0].shape[1]
    skipped = lowest // block_size
    origin = skipped * block_size
    count = segment.context - origin
    keys, values = (
        cache[segment.run + skipped : segment.run + segment.blocks.numel()]
        if segment.run is not None
        else workspace.gather(which, cache, segment.blocks[skipped:])
        for which, cache in enumerate(layer)
    )
    return keys.flatten(0, 1)[:count], values.flatten(0, 1)[:count], origin


def _attend_segment(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    origin: int,
    segment: Segment,
    config: AttentionConfig,
) -> torch.Tensor:
    groups = config.num_heads // config.num_kv_heads
    count = segment.count
    # Key-value heads take the place of the batch: [Hkv, groups, T, D] against [Hkv, 1, n, D],
    # so that no key is copied for the query heads that share it.
    q = query.view(count, config.num_kv_heads, groups, config.head_dim).permute(1, 2, 0, 3)
    k = keys.transpose(0, 1).unsqueeze(1)
    v = values.transpose(0, 1).unsqueeze(1)
    window = config.sliding_window
    sees_all = window is None or segment.context <= window
    causal = segment.start == 0 and sees_all and config.softcap is None
    mask = None
    if not causal and not (count == 1 and sees_all):
        mask = segment.masks.get(window)
        if mask is None:
            mask = _causal_mask(segment, origin, keys.shape[0], window, query)
            segment.masks[window] = mask
    if config.softcap is not None:
        out = _softcapped(q, k, v, mask, config)
    else:
        shape = (config.num_kv_heads, groups, keys.shape[0], config.head_dim)
        out = F.scaled_dot_product_attention(
            q,
            k.expand(shape),
            v.expand(shape),
            attn_mask=mask,
            is_causal=causal and count > 1,
            scale=config.scale,
        )
    return out.permute(2, 0, 1, 3).reshape(count, config.num_heads * config.head_dim)


def _causal_mask(
    segment: Segment, origin: int, keys: int, window: int | None, like: torch.Tensor
) -> torch.Tensor:
    """0 where a query sees a key, else -inf: [count, keys]."""
    key_at = torch.arange(origin, origin + keys, device=like.device)
    query_at = torch.arange(segment.start, segment.context, device=like.device).unsqueeze(1)
    hidden = key_at > query_at
    if window is not None:
        hidden |= key_at <= query_at - window
    mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
    return mask.masked_fill_(hidden, float("-inf"))


def attend_decode(
    query: torch.Tensor,
    layer: _Layer,
    step: DecodeStep,
    config: AttentionConfig,
    workspace: GatherWorkspace,
) -> torch.Tensor:
    """Attention of one token a sequence over the whole of its cache.

    :param query: [B, num_heads, head_dim].
    :returns: [B, num_heads * head_dim].
    """
    batch = query.shape[0]
    groups = config.num_heads // config.num_kv_heads
    if step.run is not None:
        keys, values = (cache[step.run : step.run + step.max_blocks] for cache in layer)
    else:
        keys, values = (
            workspace.gather(which, cache, step.blocks) for which, cache in enumerate(layer)
        )
    # [B, keys, num_kv_heads, head_dim]
    width = step.max_blocks * layer[0].shape[1]
    keys = keys.view(batch, width, config.num_kv_heads, config.head_dim)
    values = values.view(batch, width, config.num_kv_heads, config.head_dim)
    mask = None
    shortest, longest = min(step.contexts), max(step.contexts)
    if shortest == longest:
        seen = slice(_lowest_key(longest - 1, config.sliding_window), longest)
        keys, values = keys[:, seen], values[:, seen]
    else:
        mask = step.masks.get(config.sliding_window)
        if mask is None:
            mask = _padding_mask(step.lengths, width, config.sliding_window, query)
            step.masks[config.sliding_window] = mask
    # The query heads that share a key-value head are its queries: [B, Hkv, groups, D].
    q = query.view(batch, config.num_kv_heads, groups, config.head_dim)
    k, v = keys.transpose(1, 2), values.transpose(1, 2)
    if config.softcap is not None:
        out = _softcapped(q, k, v, mask, config)
    else:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=config.scale)
    return out.reshape(batch, config.num_heads * config.head_dim)


def _padding_mask(
    lengths: torch.Tensor, width: int, window: int | None, like: torch.Tensor
) -> torch.Tensor:
    """0 where a row's token sees a key, else -inf: [B, 1, 1, width]."""
    key_at = torch.arange(width, device=like.device)
    ends = lengths.unsqueeze(1)
    hidden = key_at >= ends
    if window is not None:
        hidden |= key_at < ends - window
    mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
    return mask.masked_fill_(hidden, float("-inf"))[:, None, None, :]


def _softcapped(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,
    config: AttentionConfig,
) -> torch.Tensor:
    """Attention with capped scores, which the fused operator does not offer."""
    assert config.softcap is not None
    scores = torch.matmul(q, k.transpose(-1, -2)) * config.scale
    scores = torch.tanh(scores / config.softcap) * config.softcap
    if mask is not None:
        scores = scores + mask
    return torch.matmul(torch.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype), v)
