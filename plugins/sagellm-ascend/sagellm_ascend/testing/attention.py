"""``npu_fused_infer_attention_score`` in plain torch: sequences, what each query sees, softmax.

Of what the documentation describes it has layouts ``TND`` and ``BSND``, keys at hand or in a paged
cache, and the sparse modes 0 (a mask or none), 3 (causal) and 4 (band).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .limits import require, require_contiguous, require_type

_TYPES = (torch.float16, torch.bfloat16, torch.float32)
_MASKS = (torch.bool, torch.int8, torch.uint8)
_TRIANGLE = 2048
_PLAIN, _CAUSAL, _BAND = 0, 3, 4


@dataclass(frozen=True, slots=True)
class _Sequence:
    #: [S, num_heads, D]; keys and values: [KV_S, num_kv_heads, D].
    query: Tensor
    key: Tensor
    value: Tensor
    #: True where a query does not see a key, [S, KV_S].
    hidden: Tensor


def fused_infer_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    atten_mask: Tensor | None,
    actual_seq_lengths: Sequence[int] | None,
    actual_seq_lengths_kv: Sequence[int] | None,
    block_table: Tensor | None,
    num_heads: int,
    scale: float,
    pre_tokens: int,
    next_tokens: int,
    input_layout: str,
    num_key_value_heads: int,
    sparse_mode: int,
    block_size: int,
) -> Tensor:
    """What the operator gives first: shaped as the queries.

    :raises UndocumentedCall: the documentation rules the call out.
    """
    require(input_layout in ("TND", "BSND"), f"the layout {input_layout!r} is not used")
    require_contiguous(query, key, value)
    require_type(query, *_TYPES)
    require(query.dtype == key.dtype == value.dtype, "the types differ")
    kv_heads = num_key_value_heads or num_heads
    _check_heads(query, num_heads, kv_heads, packed=input_layout == "TND")
    queries = _queries(query, actual_seq_lengths, input_layout)
    pairs: Iterable[tuple[Tensor, Tensor]]
    if block_table is None:
        pairs = _pairs_at_hand(key, value, actual_seq_lengths_kv, input_layout, len(queries))
    else:
        longest = max(each.shape[0] for each in queries)
        _check_paging(key, block_table, block_size, kv_heads, query.shape[-1], longest > 1)
        pairs = _pairs_in_cache(key, value, actual_seq_lengths_kv, block_table, kv_heads)
    _check_mask(atten_mask, sparse_mode, queries, input_layout)
    outputs = []
    for row, (one, (keys, values)) in enumerate(zip(queries, pairs, strict=True)):
        lengths = (one.shape[0], keys.shape[0])
        hidden = _hidden(
            atten_mask, row, lengths, sparse_mode, pre_tokens, next_tokens, query.device
        )
        outputs.append(_attend(_Sequence(one, keys, values, hidden), scale))
    return torch.cat(outputs).view_as(query)


def _check_heads(query: Tensor, num_heads: int, kv_heads: int, *, packed: bool) -> None:
    size = query.shape[-1]
    require(query.shape[-2] == num_heads, f"queries have {query.shape[-2]} heads of {num_heads}")
    require(num_heads % kv_heads == 0 and num_heads <= 256, f"{num_heads} heads")
    require(num_heads // kv_heads <= 64, f"{num_heads} heads share {kv_heads}")
    require(size % 16 == 0 and size <= 512, f"heads have {size} dimensions")
    require(not packed or size in (64, 128, 192), f"packed heads have {size} dimensions")


def _queries(query: Tensor, lengths: Sequence[int] | None, layout: str) -> list[Tensor]:
    if layout == "BSND":
        require(
            lengths is None or set(lengths) == {query.shape[1]},
            f"lengths of queries are {lengths} of {query.shape[1]}",
        )
        return list(query.unbind())
    require(lengths is not None and len(lengths) <= 4096, "a packed batch needs lengths")
    return list(_between(query, lengths or ()))


def _between(packed: Tensor, ends: Sequence[int]) -> Iterator[Tensor]:
    require(all(a <= b for a, b in pairwise(ends)), f"sums of lengths fall: {ends}")
    require(bool(ends) and ends[-1] == packed.shape[0], f"{ends} of {packed.shape[0]} tokens")
    for start, end in pairwise((0, *ends)):
        yield packed[start:end]


def _pairs_at_hand(
    key: Tensor, value: Tensor, lengths: Sequence[int] | None, layout: str, count: int
) -> list[tuple[Tensor, Tensor]]:
    require(key.shape == value.shape, "keys and values are not alike")
    if layout == "TND":
        require(lengths is not None and len(lengths) == count, "a packed batch needs lengths")
        ends = lengths or ()
        return list(zip(_between(key, ends), _between(value, ends), strict=True))
    limits = list(lengths) if lengths is not None else [key.shape[1]] * count
    require(len(limits) == count and max(limits) <= key.shape[1], f"lengths of keys are {limits}")
    return [(key[i, :n], value[i, :n]) for i, n in enumerate(limits)]


def _check_paging(
    cache: Tensor, table: Tensor, block_size: int, kv_heads: int, size: int, several: bool
) -> None:
    """:param several: a sequence has more than one query."""
    require_contiguous(table)
    require_type(table, torch.int32)
    require(table.dim() == 2, f"the block table is {tuple(table.shape)}")
    width = kv_heads * size
    require(cache.dim() == 3 and cache.shape[1] == block_size, f"the cache is {tuple(cache.shape)}")
    require(cache.shape[2] == width <= 65_535, f"a token has {cache.shape[2]} numbers")
    require(cache.numel() < 2**31, f"the cache has {cache.numel()} numbers")
    require(0 < block_size <= 512, f"blocks have {block_size} tokens")
    require(block_size % (128 if several else 16) == 0, f"blocks have {block_size} tokens")


def _pairs_in_cache(
    key: Tensor, value: Tensor, lengths: Sequence[int] | None, table: Tensor, kv_heads: int
) -> Iterator[tuple[Tensor, Tensor]]:
    require(lengths is not None and len(lengths) == table.shape[0], "each sequence has a length")
    for row, length in zip(table.long(), lengths or (), strict=True):
        blocks = row[: -(-length // key.shape[1])]
        require(length <= row.numel() * key.shape[1], f"{length} tokens in {row.numel()} blocks")
        pair = (cache.index_select(0, blocks).flatten(0, 1)[:length] for cache in (key, value))
        keys, values = (each.view(length, kv_heads, -1) for each in pair)
        yield keys, values


def _check_mask(mask: Tensor | None, mode: int, queries: Sequence[Tensor], layout: str) -> None:
    require(mode in (_PLAIN, _CAUSAL, _BAND), f"the sparse mode {mode} is not used")
    if mask is not None:
        require_contiguous(mask)
        require_type(mask, *_MASKS)
    if mode == _PLAIN:
        return
    alone = layout == "BSND" and max(each.shape[0] for each in queries) == 1
    require(not alone, f"the sparse mode {mode} counts for nothing with single queries")
    require(mask is not None and mask.shape == (_TRIANGLE, _TRIANGLE), "the mask is no triangle")
    expected = torch.ones(_TRIANGLE, _TRIANGLE, dtype=torch.bool).triu_(1)
    require(mask is not None and bool((mask.cpu().bool() == expected).all()), "it is no triangle")


def _hidden(
    mask: Tensor | None,
    row: int,
    lengths: tuple[int, int],
    mode: int,
    pre_tokens: int,
    next_tokens: int,
    device: torch.device,
) -> Tensor:
    """What each query does not see, [S, KV_S]: the modes are aligned at the last of both."""
    count, total = lengths
    if mode == _PLAIN:
        if mask is None:
            return torch.zeros(count, total, dtype=torch.bool, device=device)
        require(mask.dim() == 4 and mask.shape[1:3] == (1, count), f"mask {tuple(mask.shape)}")
        require(mask.shape[3] >= total, f"the mask has {mask.shape[3]} keys of {total}")
        return mask[row, 0, :, :total].bool()
    require(count <= total, f"{count} queries over {total} keys")
    keys = torch.arange(total, device=device)
    own = torch.arange(total - count, total, device=device).unsqueeze(1)
    hidden = keys > own + (next_tokens if mode == _BAND else 0)
    if mode == _BAND:
        hidden |= keys < own - pre_tokens
    return hidden


def _attend(sequence: _Sequence, scale: float) -> Tensor:
    """Softmax in float32, [S, num_heads * D]."""
    groups = sequence.query.shape[1] // sequence.key.shape[1]
    query = sequence.query.transpose(0, 1).float()  # [N, S, D]
    keys = sequence.key.transpose(0, 1).float().repeat_interleave(groups, 0)
    values = sequence.value.transpose(0, 1).float().repeat_interleave(groups, 0)
    scores = torch.matmul(query, keys.transpose(1, 2)) * scale
    weights = torch.softmax(scores.masked_fill(sequence.hidden, float("-inf")), -1)
    return torch.matmul(weights, values).transpose(0, 1).flatten(1).to(sequence.query.dtype)
