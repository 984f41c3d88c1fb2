"""Attention through ``npu_fused_infer_attention_score``.

Packed sequences (layout ``TND``) go in one call where heads have a size that it takes there; else
each sequence is a batch of one (``BSND``). One token a sequence is a batch of queries of length 1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from sagellm_torch import AttentionConfig, DecodeStep, PrefillStep, Segment

from .operators import Operators
from .paging import Upload, chunk_table, single_query_paging

#: Tokens in a block. Paged attention takes multiples of it up to :data:`LARGEST_BLOCK`.
BLOCK_SIZE = 128
LARGEST_BLOCK = 512
#: Sizes of heads that packed sequences may have: CheckInputShapeWhenLayoutIsTND in CANN 8.5 (older
#: ones have not all of them, and say so).
_PACKED_HEADS = frozenset({64, 128, 192})
_LARGEST_HEAD = 512
_MOST_HEADS = 256
_MOST_SHARING = 64
#: Numbers of a token's keys in a paged cache, all heads together.
_WIDEST_TOKEN = 65_535
#: ``sparse_mode``: causal; causal within a window. Both are aligned at the last query and the last
#: key, and take a triangle of one size for all lengths.
_CAUSAL, _BAND = 3, 4
_TRIANGLE = 2048

_Layer = tuple[torch.Tensor, torch.Tensor]


def fits_blocks(size: int) -> bool:
    """Whether paged attention takes blocks of so many tokens."""
    return size % BLOCK_SIZE == 0 and 0 < size <= LARGEST_BLOCK


def obstacle(
    config: AttentionConfig, dtype: torch.dtype, computes_in: Collection[torch.dtype]
) -> str:
    """Why the operator cannot compute a layer's attention, in one clause; empty when it can.

    :param computes_in: the types that the NPU's attention takes.
    """
    if config.softcap is not None:
        return "the model caps attention scores"
    if dtype not in computes_in:
        return f"the model runs in {str(dtype).removeprefix('torch.')}"
    if config.head_dim % 16 or config.head_dim > _LARGEST_HEAD:
        return f"heads have {config.head_dim} dimensions"
    if config.num_heads > _MOST_HEADS or config.num_heads > _MOST_SHARING * config.num_kv_heads:
        return f"{config.num_heads} heads share {config.num_kv_heads} keys"
    if config.num_kv_heads * config.head_dim > _WIDEST_TOKEN:
        return f"a key has {config.num_kv_heads} heads of {config.head_dim} dimensions"
    return ""


class FusedAttention:
    """Attention over keys and values that are in the cache already.

    Queries, keys and values have to be contiguous.

    :param operators: those of torch_npu, or others with the same signatures.
    """

    def __init__(self, operators: Operators, device: torch.device, upload: Upload) -> None:
        self._operators = operators
        self._device = device
        self._upload = upload
        self._triangle: torch.Tensor | None = None

    def close(self) -> None:
        """Give back what is kept between steps."""
        self._triangle = None

    def prefill(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        layer: _Layer,
        step: PrefillStep,
        config: AttentionConfig,
    ) -> torch.Tensor:
        """Each chunk over its sequence's prefix and itself.

        :param query: [T, num_heads, head_dim]; ``key``, ``value``: [T, num_kv_heads, head_dim].
        :returns: [T, num_heads * head_dim].
        """
        if config.head_dim in _PACKED_HEADS and not _lone_queries(step, config.sliding_window):
            return self._packed(query, key, value, layer, step, config)
        outputs = []
        for segment in step.segments:
            rows = slice(segment.first, segment.first + segment.count)
            new = (key[rows], value[rows])
            outputs.append(self._alone(query[rows], new, layer, segment, config))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def decode(
        self, query: torch.Tensor, layer: _Layer, step: DecodeStep, config: AttentionConfig
    ) -> torch.Tensor:
        """One token a sequence over the whole of its cache.

        :param query: [B, num_heads, head_dim].
        :returns: [B, num_heads * head_dim].
        """
        name = f"ascend.paging.{config.sliding_window}"
        paging = step.prepared.get(name)
        if paging is None:
            blocks = step.blocks.view(len(step.contexts), step.max_blocks)
            paging = self._single(blocks, step.contexts, layer, config)
            step.prepared[name] = paging
        return self._attend(query.unsqueeze(1), layer, config, **paging)

    def _packed(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        layer: _Layer,
        step: PrefillStep,
        config: AttentionConfig,
    ) -> torch.Tensor:
        ends = [segment.first + segment.count for segment in step.segments]
        arguments = {"input_layout": "TND", "actual_seq_lengths": ends, **self._causal(config)}
        if all(segment.start == 0 for segment in step.segments):
            # No need to read from the cache what is at hand. Then lengths of keys are sums, too.
            new = (key, value)
            return self._attend(query, new, config, actual_seq_lengths_kv=ends, **arguments)
        if "ascend.table" not in step.prepared:
            step.prepared["ascend.table"] = chunk_table(step)
        return self._attend(
            query,
            layer,
            config,
            actual_seq_lengths_kv=[segment.context for segment in step.segments],
            block_table=step.prepared["ascend.table"],
            **arguments,
        )

    def _alone(
        self,
        query: torch.Tensor,
        new: _Layer,
        layer: _Layer,
        segment: Segment,
        config: AttentionConfig,
    ) -> torch.Tensor:
        """One chunk as a batch of one: ``query`` [count, num_heads, head_dim]."""
        query = query.unsqueeze(0)
        blocks = segment.blocks.unsqueeze(0)
        if segment.count == 1:
            # A mask that is aligned at the last query says nothing about a query alone.
            single = self._single(blocks, [segment.context], layer, config)
            return self._attend(query, layer, config, **single)
        arguments = {
            "input_layout": "BSND",
            "actual_seq_lengths": [segment.count],
            "actual_seq_lengths_kv": [segment.context],
            **self._causal(config),
        }
        if segment.start == 0:
            keys, values = (each.unsqueeze(0) for each in new)
            return self._attend(query, (keys, values), config, **arguments)
        table = blocks.to(torch.int32)
        return self._attend(query, layer, config, block_table=table, **arguments)

    def _single(
        self,
        blocks: torch.Tensor,
        contexts: Sequence[int],
        layer: _Layer,
        config: AttentionConfig,
    ) -> dict[str, Any]:
        """Arguments for one query a sequence."""
        size = layer[0].shape[1]
        paging = single_query_paging(blocks, contexts, config.sliding_window, size, self._upload)
        return {"input_layout": "BSND", **paging}

    def _attend(
        self, query: torch.Tensor, pair: _Layer, config: AttentionConfig, **arguments: Any
    ) -> torch.Tensor:
        """:param pair: keys and values: new ones, or with a ``block_table`` those of the cache."""
        key, value = pair
        if "block_table" in arguments:
            arguments["block_size"] = key.shape[1]
            key, value = key.flatten(2), value.flatten(2)
        out, _ = self._operators.npu_fused_infer_attention_score(
            query,
            key,
            value,
            num_heads=config.num_heads,
            num_key_value_heads=config.num_kv_heads,
            scale=config.scale,
            **arguments,
        )
        return out.reshape(-1, config.num_heads * config.head_dim)

    def _causal(self, config: AttentionConfig) -> dict[str, Any]:
        if self._triangle is None:
            ones = torch.ones(_TRIANGLE, _TRIANGLE, dtype=torch.bool)
            self._triangle = ones.triu_(1).to(self._device)
        if config.sliding_window is None:
            return {"atten_mask": self._triangle, "sparse_mode": _CAUSAL}
        return {
            "atten_mask": self._triangle,
            "sparse_mode": _BAND,
            # Beside the token itself.
            "pre_tokens": config.sliding_window - 1,
            "next_tokens": 0,
        }


def _lone_queries(step: PrefillStep, window: int | None) -> bool:
    """Whether a chunk of one token has tokens before its window.

    What a window means for a query alone is documented for no packed sequences.
    """
    return window is not None and any(
        each.count == 1 and each.context > window for each in step.segments
    )
