"""Paged attention by kernels against plain attention in float32."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sagellm_torch import AttentionConfig

pytestmark = pytest.mark.usefixtures("interpreted")

#: The interpreter takes about a second for a case, so a failing one is not made smaller.
_FEW = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)

_DTYPES = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])


@st.composite
def _configs(draw) -> AttentionConfig:
    kv_heads = draw(st.sampled_from([1, 2]))
    groups = draw(st.sampled_from([1, 2, 3]))
    head_dim = draw(st.sampled_from([16, 24, 64]))
    return AttentionConfig(
        num_heads=kv_heads * groups,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        scale=head_dim**-0.5,
        softcap=draw(st.sampled_from([None, None, 5.0])),
        sliding_window=draw(st.sampled_from([None, None, 1, 9, 40])),
    )


_CHUNKS = st.lists(st.tuples(st.integers(0, 45), st.integers(1, 35)), min_size=1, max_size=3)


def _prefill(case, tiles):
    from sagellm_torch.triton.attention import attend_prefill

    tile = tiles.prefill_tile(case.config.head_dim, case.query.dtype.itemsize)
    return attend_prefill(
        case.query, case.layer, case.prefill_step(), case.config, tile, torch.tensor
    )


def _decode(case, tiles, idle=0):
    from sagellm_torch.triton.attention import attend_decode

    query = torch.cat([case.query, case.query[:1].expand(idle, -1)])
    return attend_decode(query, case.layer, case.decode_step(idle), case.config, tiles)


@_FEW
@given(
    config=_configs(),
    chunks=_CHUNKS,
    block_size=st.sampled_from([1, 4, 16, 32]),
    block_m=st.sampled_from([16, 32]),
    block_n=st.sampled_from([16, 32]),
    dtype=_DTYPES,
)
def test_prefill(
    config, chunks, block_size, block_m, block_n, dtype, paged_case, tile_table, close
):
    case = paged_case(chunks, config, block_size=block_size, dtype=dtype)
    close(_prefill(case, tile_table(block_m, block_n)), case.expected())


@_FEW
@given(
    config=_configs(),
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=4),
    block_size=st.sampled_from([1, 4, 16, 32]),
    block_n=st.sampled_from([16, 32]),
    programs=st.sampled_from([1, 8, 64]),
    dtype=_DTYPES,
)
def test_decode(
    config, lengths, block_size, block_n, programs, dtype, paged_case, tile_table, close
):
    chunks = [(length - 1, 1) for length in lengths]
    case = paged_case(chunks, config, block_size=block_size, dtype=dtype)
    close(_decode(case, tile_table(16, block_n, programs)), case.expected())


@pytest.mark.parametrize("head_dim", [64, 80, 96, 128, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_size_of_head(head_dim, dtype, paged_case, tile_table, close):
    config = AttentionConfig(num_heads=4, num_kv_heads=2, head_dim=head_dim, scale=head_dim**-0.5)
    prefill = paged_case([(19, 21), (0, 5)], config, dtype=dtype)
    close(_prefill(prefill, tile_table()), prefill.expected())
    decode = paged_case([(39, 1), (4, 1)], config, dtype=dtype)
    close(_decode(decode, tile_table(programs=16)), decode.expected())


@pytest.mark.parametrize("groups", [1, 4, 5, 8, 16, 32])
def test_query_heads_of_a_key_value_head_share_a_tile(groups, paged_case, tile_table, close):
    config = AttentionConfig(num_heads=groups, num_kv_heads=1, head_dim=16, scale=0.25)
    case = paged_case([(33, 1)], config)
    close(_decode(case, tile_table(programs=4)), case.expected())


@pytest.mark.parametrize("edge", [15, 16, 17, 31, 32, 33])
def test_chunks_that_begin_and_end_at_edges_of_tiles(edge, paged_case, tile_table, close):
    config = AttentionConfig(num_heads=2, num_kv_heads=1, head_dim=16, scale=0.25)
    case = paged_case([(edge, 16), (0, edge), (16, edge)], config)
    close(_prefill(case, tile_table()), case.expected())


def test_long_scores_under_a_cap(paged_case, tile_table, close):
    # Scores of several hundred: tanh is 1, and its exponential beyond any number.
    config = AttentionConfig(num_heads=1, num_kv_heads=1, head_dim=16, scale=200.0, softcap=50.0)
    case = paged_case([(20, 9)], config)
    close(_prefill(case, tile_table()), case.expected())


@pytest.mark.parametrize("programs", [1, 64])
def test_idle_rows_give_zero_and_change_nothing(programs, paged_case, tile_table):
    config = AttentionConfig(num_heads=4, num_kv_heads=2, head_dim=16, scale=0.25)
    case = paged_case([(30, 1), (7, 1)], config)
    tiles = tile_table(programs=programs)
    padded = _decode(case, tiles, idle=3)
    assert (padded[2:] == 0).all()
    torch.testing.assert_close(padded[:2], _decode(case, tiles))


def test_a_row_does_not_depend_on_the_rows_beside_it(paged_case, tile_table):
    config = AttentionConfig(num_heads=4, num_kv_heads=2, head_dim=32, scale=0.2)
    case = paged_case([(50, 1), (3, 1), (80, 1)], config)
    tiles = tile_table()
    together = _decode(case, tiles)
    from sagellm_torch.triton.attention import attend_decode

    step = case.decode_step()
    alone = replace(step, told=step.told[:, 1:2])
    alone = attend_decode(case.query[1:2], case.layer, alone, config, tiles)
    assert torch.equal(alone[0], together[1])
