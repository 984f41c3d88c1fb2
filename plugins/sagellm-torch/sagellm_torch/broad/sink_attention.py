"""Attention with sinks over a block-table KV cache, in plain torch operators.

A sink is a learnt logit a head that takes part in the softmax and has no value, so that a head
may look at nothing (gpt-oss; "Efficient Streaming Language Models with Attention Sinks",
arXiv 2309.17453, describes what it is for). No fused operator of torch has it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from sagellm_torch.attention import AttentionConfig
from sagellm_torch.step import DecodeStep, PrefillStep


def attend_with_sinks(
    query: torch.Tensor,
    layer: tuple[torch.Tensor, torch.Tensor],
    step: PrefillStep | DecodeStep,
    config: AttentionConfig,
    sinks: torch.Tensor,
) -> torch.Tensor:
    """Attention of each sequence's tokens over its cache, which holds their keys already.

    :param query: [T, num_heads, head_dim].
    :param layer: keys and values, each [num_blocks, block_size, num_kv_heads, head_dim].
    :param sinks: [num_heads].
    :returns: [T, num_heads * head_dim].
    """
    outputs = []
    for rows, blocks, start in _sequences(step):
        context = start + rows.stop - rows.start
        lowest = 0 if config.sliding_window is None else max(0, start - config.sliding_window + 1)
        block_size = layer[0].shape[1]
        skipped = lowest // block_size
        keys, values = (
            cache.index_select(0, blocks[skipped:]).flatten(0, 1)[: context - skipped * block_size]
            for cache in layer
        )
        first = skipped * block_size
        outputs.append(_attend(query[rows], keys, values, first, start, config, sinks))
    return torch.cat(outputs)


def _sequences(step: PrefillStep | DecodeStep) -> Iterator[tuple[slice, torch.Tensor, int]]:
    """Per sequence: its rows, its blocks, and its tokens before this step."""
    if isinstance(step, PrefillStep):
        for segment in step.segments:
            rows = slice(segment.first, segment.first + segment.count)
            yield rows, segment.blocks, segment.start
        return
    tables = step.blocks.view(-1, step.max_blocks)
    for row, context in enumerate(step.contexts):
        yield slice(row, row + 1), tables[row], context - 1


def _attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    first: int,
    start: int,
    config: AttentionConfig,
    sinks: torch.Tensor,
) -> torch.Tensor:
    """:param first: position of the first key. ``start``: of the first query."""
    count, total = query.shape[0], keys.shape[0]
    shape = (count, config.num_kv_heads, -1, config.head_dim)
    q = query.view(shape).permute(1, 2, 0, 3)  # [Hkv, groups, T, D]
    scores = torch.matmul(q, keys.permute(1, 2, 0).unsqueeze(1)) * config.scale
    if config.softcap is not None:
        scores = torch.tanh(scores / config.softcap) * config.softcap
    key_at = torch.arange(first, first + total, device=query.device)
    query_at = torch.arange(start, start + count, device=query.device).unsqueeze(1)
    hidden = key_at > query_at
    if config.sliding_window is not None:
        hidden |= key_at <= query_at - config.sliding_window
    scores = scores.float().masked_fill(hidden, float("-inf"))
    sink = sinks.float().view(config.num_kv_heads, -1, 1, 1).expand(-1, -1, count, 1)
    weights = torch.softmax(torch.cat((scores, sink), dim=-1), dim=-1)[..., :total]
    out = torch.matmul(weights.to(values.dtype), values.transpose(0, 1).unsqueeze(1))
    return out.permute(2, 0, 1, 3).reshape(count, -1)
