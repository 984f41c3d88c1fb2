"""Attention over blocks, against float64; and that a row's result depends on its sequence alone."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_BLOCK = 3


class _Shape(ctypes.Structure):
    _fields_ = (
        ("heads", ctypes.c_int64),
        ("kv_heads", ctypes.c_int64),
        ("head_dim", ctypes.c_int64),
        ("block_size", ctypes.c_int64),
        ("scale", ctypes.c_float),
        ("softcap", ctypes.c_float),
        ("window", ctypes.c_int64),
        ("token_stride", ctypes.c_int64),
        ("full", ctypes.c_bool),
        ("bias", ctypes.c_void_p),
        ("bias_size", ctypes.c_int64),
    )


class _Segment(ctypes.Structure):
    _fields_ = (
        ("first", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("start", ctypes.c_int64),
        ("blocks", ctypes.c_void_p),
    )


@dataclass
class Sequences:
    """Queries, keys and values of sequences, whose keys and values lie in scattered blocks."""

    lengths: list[int]
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    softcap: float = 0.0
    window: int = 0
    seed: int = 0
    full: bool = False
    biased: bool = False
    queries: list[torch.Tensor] = field(default_factory=list)
    keys: list[torch.Tensor] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)
    tables: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        made = torch.Generator().manual_seed(self.seed)
        counts = [-(-length // _BLOCK) for length in self.lengths]
        order = torch.randperm(sum(counts) + 2, generator=made)
        shape = (len(order) * _BLOCK, self.kv_heads, self.head_dim)
        longest = max(self.lengths) + 3
        self._bias = torch.randn(self.heads, longest, longest, generator=made)
        # Nothing may be read where no token is.
        self._cache = [torch.full(shape, float("nan")) for _ in range(2)]
        for length, table in zip(self.lengths, order.split([*counts, 2])[:-1], strict=True):
            self.queries.append(torch.randn(length, self.heads, self.head_dim, generator=made) * 3)
            self.tables.append(table.contiguous())
            places = (table[:, None] * _BLOCK + torch.arange(_BLOCK)).flatten()[:length]
            for held, cache in zip((self.keys, self.values), self._cache, strict=True):
                held.append(torch.randn(length, self.kv_heads, self.head_dim, generator=made))
                cache[places] = held[-1]

    def attend(self, parts: ctypes.CDLL, chunks: list[tuple[int, int, int]]) -> torch.Tensor:
        """[rows, heads, head_dim] of chunks: (sequence, first position, end)."""
        queries = torch.cat([self.queries[s][start:end] for s, start, end in chunks])
        out = torch.full_like(queries, 9.0)
        segments = (_Segment * len(chunks))()
        row = 0
        for i, (s, start, end) in enumerate(chunks):
            segments[i] = _Segment(row, end - start, start, self.tables[s].data_ptr())
            row += end - start
        shape = _Shape(
            self.heads,
            self.kv_heads,
            self.head_dim,
            _BLOCK,
            0.3,
            self.softcap,
            self.window,
            self.kv_heads * self.head_dim,
            self.full,
            self._bias.data_ptr() if self.biased else None,
            self._bias.shape[1],
        )
        parts.attended(
            ctypes.byref(shape),
            segments,
            ctypes.c_int64(len(chunks)),
            ctypes.c_int64(row),
            *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (*self._cache, queries, out)),
        )
        return out

    def exact(self, s: int) -> torch.Tensor:
        """All rows of a sequence, [length, heads, head_dim], in float64."""
        group = self.heads // self.kv_heads
        keys, values = (
            held[s].double().repeat_interleave(group, dim=1) for held in (self.keys, self.values)
        )
        scores = torch.einsum("qhd,khd->hqk", self.queries[s].double(), keys) * 0.3
        if self.softcap:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        length = self.lengths[s]
        if self.biased:
            scores += self._bias[:, :length, :length]
        at = torch.arange(length)
        hidden = (at[None, :] > at[:, None]) & torch.tensor(not self.full)
        if self.window:
            hidden |= at[None, :] <= at[:, None] - self.window
        weights = scores.masked_fill(hidden, float("-inf")).softmax(dim=-1)
        return torch.einsum("hqk,khd->qhd", weights, values)


_shapes = st.fixed_dictionaries(
    {
        "lengths": st.lists(st.integers(1, 400), min_size=1, max_size=3),
        "kv_heads": st.sampled_from((1, 2, 3)),
        "group": st.sampled_from((1, 2, 5, 7)),
        "head_dim": st.sampled_from((8, 16, 24, 64, 80)),
        "softcap": st.sampled_from((0.0, 5.0)),
        "window": st.sampled_from((0, 1, 9, 64, 150)),
        "seed": st.integers(0, 99),
    }
)


def _sequences(shape: dict) -> Sequences:
    group = shape.pop("group")
    return Sequences(heads=group * shape["kv_heads"], **shape)


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(shape=_shapes, cuts=st.lists(st.integers(1, 399), max_size=4))
def test_chunks_are_exact_and_bit_equal_to_the_whole(parts, shape, cuts) -> None:
    sequences = _sequences(dict(shape))
    whole = [(s, 0, length) for s, length in enumerate(sequences.lengths)]
    out = sequences.attend(parts, whole)
    exact = torch.cat([sequences.exact(s) for s in range(len(whole))])
    torch.testing.assert_close(out.double(), exact, atol=2e-5, rtol=1e-5)
    first = 0
    for s, length in enumerate(sequences.lengths):
        ends = [*sorted({cut for cut in cuts if cut < length}), length]
        starts = [0, *ends[:-1]]
        chunks = [
            sequences.attend(parts, [(s, start, end)])
            for start, end in zip(starts, ends, strict=True)
        ]
        assert torch.equal(torch.cat(chunks), out[first : first + length])
        first += length


@pytest.mark.parametrize("window", [0, 40, 200])
@pytest.mark.parametrize("length", [1, 127, 128, 129, 300, 513])
def test_single_rows_equal_those_of_a_chunk(parts, window, length) -> None:
    sequences = Sequences([length, 1, 260], window=window, head_dim=64)
    whole = sequences.attend(parts, [(s, 0, end) for s, end in enumerate(sequences.lengths)])
    last = [(s, end - 1, end) for s, end in enumerate(sequences.lengths)]
    together = sequences.attend(parts, last)
    ends = torch.tensor(sequences.lengths).cumsum(0) - 1
    assert torch.equal(together, whole[ends])
    for row, chunk in enumerate(last):
        assert torch.equal(sequences.attend(parts, [chunk])[0], together[row])


def test_scores_of_any_size(parts) -> None:
    sequences = Sequences([200])
    sequences.queries[0] *= 1e4
    out = sequences.attend(parts, [(0, 0, 200)])
    torch.testing.assert_close(out.double(), sequences.exact(0), atol=1e-2, rtol=1e-2)
    assert out.isfinite().all()


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=3),
    heads=st.sampled_from((1, 3)),
    head_dim=st.sampled_from((8, 24, 32, 64)),
    biased=st.booleans(),
    seed=st.integers(0, 99),
)
def test_whole_texts_whose_tokens_see_each_other(
    parts, lengths, heads, head_dim, biased, seed
) -> None:
    texts = Sequences(lengths, heads, heads, head_dim, full=True, biased=biased, seed=seed)
    out = texts.attend(parts, [(s, 0, length) for s, length in enumerate(lengths)])
    exact = torch.cat([texts.exact(s) for s in range(len(lengths))])
    torch.testing.assert_close(out.double(), exact, atol=2e-5, rtol=1e-5)
