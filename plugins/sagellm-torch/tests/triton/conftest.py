"""Sequences in scattered blocks, and attention over them in plain float32.

The kernels run in Triton's interpreter, on the CPU: ``nox -s triton``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import pytest
import torch
from sagellm_torch import AttentionConfig, DecodeStep, PrefillStep, Segment
from sagellm_torch.step import SlotState
from sagellm_torch.triton import AttentionTile, TileTable


@pytest.fixture(scope="session")
def interpreted() -> None:
    """Skips where kernels cannot run on the CPU."""
    if find_spec("triton") is None:
        pytest.skip("triton is not installed: `nox -s triton` runs the kernels")
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("TRITON_INTERPRET=1 is not set: `nox -s triton` runs the kernels")


@pytest.fixture(scope="session")
def tile_table() -> Callable[..., TileTable]:
    """Tiles so small that short sequences take several turns: ``tile_table(block_m=32)``."""

    def make(block_m: int = 16, block_n: int = 16, programs: int = 1) -> TileTable:
        tile = AttentionTile(head_dim=512, itemsize=4, block_m=block_m, block_n=block_n)
        return TileTable(prefill=(tile,), decode=(tile,), shared_memory=1 << 20, programs=programs)

    return make


@dataclass
class Chunk:
    """Queries of one sequence and all its keys and values up to the last query."""

    query: torch.Tensor  # [count, num_heads, head_dim]
    keys: torch.Tensor  # [context, num_kv_heads, head_dim]
    values: torch.Tensor
    blocks: list[int]

    @property
    def start(self) -> int:
        return len(self.keys) - len(self.query)


class PagedCase:
    """Chunks over one cache. What no sequence wrote is NaN, and so is whatever reads it.

    :param chunks: (tokens before the chunk, tokens of the chunk) of each sequence.
    """

    def __init__(
        self,
        chunks: Sequence[tuple[int, int]],
        config: AttentionConfig,
        *,
        block_size: int = 16,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> None:
        made = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=made).to(dtype)

        self.config = config
        self.block_size = block_size
        heads, kv_heads, width = config.num_heads, config.num_kv_heads, config.head_dim
        counts = [-(-(start + count) // block_size) for start, count in chunks]
        free = list(range(1, sum(counts) + 1))  # block 0 is nobody's
        random.Random(seed).shuffle(free)
        shape = (sum(counts) + 1, block_size, kv_heads, width)
        self.layer = (
            torch.full(shape, torch.nan).to(dtype),
            torch.full(shape, torch.nan).to(dtype),
        )
        self.chunks = []
        for (start, count), needed in zip(chunks, counts, strict=True):
            context = start + count
            blocks, free = free[:needed], free[needed:]
            chunk = Chunk(
                normal(count, heads, width),
                normal(context, kv_heads, width),
                normal(context, kv_heads, width),
                blocks,
            )
            at = self._places(chunk)
            for cache, new in zip(self.layer, (chunk.keys, chunk.values), strict=True):
                cache.view(-1, kv_heads, width)[at] = new
            self.chunks.append(chunk)

    def _places(self, chunk: Chunk) -> torch.Tensor:
        positions = torch.arange(len(chunk.keys))
        blocks = torch.tensor(chunk.blocks)
        return blocks[positions // self.block_size] * self.block_size + positions % self.block_size

    @property
    def query(self) -> torch.Tensor:
        """[T, num_heads * head_dim]."""
        return torch.cat([chunk.query for chunk in self.chunks]).flatten(1)

    def prefill_step(self) -> PrefillStep:
        segments, first = [], 0
        for chunk in self.chunks:
            count = len(chunk.query)
            blocks = torch.tensor(chunk.blocks)
            segments.append(
                Segment(first=first, count=count, start=chunk.start, blocks=blocks, run=None)
            )
            first += count
        return PrefillStep(
            tokens=torch.zeros(first, dtype=torch.int64),
            rotations=(),
            write_index=torch.zeros(first, dtype=torch.int64),
            segments=tuple(segments),
            logits_index=None,
        )

    def decode_step(self, idle: int = 0) -> DecodeStep:
        """A step of the sequences, in slots in reverse, and of ``idle`` rows after them."""
        count = len(self.chunks)
        width = max(len(chunk.blocks) for chunk in self.chunks) + 1
        tables = torch.zeros((count, width), dtype=torch.int64)  # what is stale names block 0
        slots = list(reversed(range(count)))
        for slot, chunk in zip(slots, self.chunks, strict=True):
            tables[slot, : len(chunk.blocks)] = torch.tensor(chunk.blocks)
        lengths = [*(len(chunk.keys) for chunk in self.chunks), *[0] * idle]
        last_tokens = torch.zeros(count, dtype=torch.int64)
        return DecodeStep(
            told=torch.tensor([[*slots, *[0] * idle], lengths, [-1] * (count + idle)]),
            state=SlotState(last_tokens=last_tokens, tables=tables, ropes=()),
            contexts=(),
            gather=lambda: pytest.fail("the kernels do not gather"),
            max_blocks=width,
            run=None,
        )

    def expected(self) -> torch.Tensor:
        """Attention in float32, over what the caches hold, [T, num_heads * head_dim]."""
        return torch.cat([self._attention(chunk) for chunk in self.chunks])

    def _attention(self, chunk: Chunk) -> torch.Tensor:
        config = self.config
        groups = config.num_heads // config.num_kv_heads
        q = chunk.query.float().transpose(0, 1)  # [heads, count, width]
        k = chunk.keys.float().transpose(0, 1).repeat_interleave(groups, 0)
        v = chunk.values.float().transpose(0, 1).repeat_interleave(groups, 0)
        scores = q @ k.transpose(1, 2) * config.scale
        if config.softcap is not None:
            scores = config.softcap * torch.tanh(scores / config.softcap)
        key_at = torch.arange(k.shape[1])
        query_at = torch.arange(chunk.start, len(chunk.keys))[:, None]
        hidden = key_at > query_at
        if config.sliding_window is not None:
            hidden |= key_at <= query_at - config.sliding_window
        out = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v
        return out.transpose(0, 1).flatten(1)


@pytest.fixture(scope="session")
def paged_case() -> type[PagedCase]:
    return PagedCase


#: What a float type may differ by from float32: its own rounding of weights and outputs.
TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@pytest.fixture(scope="session")
def close() -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Holds a result of any float type to a float32 reference."""

    def check(found: torch.Tensor, expected: torch.Tensor) -> None:
        assert not found.isnan().any()
        allowed = TOLERANCE[found.dtype]
        torch.testing.assert_close(found.float(), expected, atol=allowed, rtol=allowed)

    return check
