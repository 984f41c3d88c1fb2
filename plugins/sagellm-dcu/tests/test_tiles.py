"""Tiles within a DCU's on-chip memory."""

from __future__ import annotations

import pytest
from sagellm_dcu.tiles import LDS_BYTES, TILES


@pytest.mark.parametrize("itemsize", [2, 4])
@pytest.mark.parametrize("head_dim", [16, 64, 80, 96, 128, 192, 256])
@pytest.mark.parametrize("groups", [1, 8, 16])
def test_there_is_a_tile_that_fits(head_dim, itemsize, groups) -> None:
    assert LDS_BYTES == 65_536
    prefill = TILES.prefill_tile(head_dim, itemsize)
    decode = TILES.decode_tile(head_dim, itemsize, groups)
    # Without matrix units halves take the room of float32.
    for tile, rows in ((prefill, prefill.block_m), (decode, groups)):
        assert TILES.taken(tile, rows, head_dim, itemsize) <= LDS_BYTES


def test_every_entry_of_the_table_is_of_use() -> None:
    taken = {
        TILES.prefill_tile(head_dim, itemsize)
        for head_dim in range(16, 257, 16)
        for itemsize in (2, 4)
    }
    assert taken == set(TILES.prefill)


@pytest.mark.parametrize("tile", [*TILES.prefill, *TILES.decode])
def test_a_turn_takes_sixteen_keys(tile) -> None:
    assert tile.block_n == 16


def test_the_widest_heads_take_fewer_queries_at_once() -> None:
    queries = [TILES.prefill_tile(d, i).block_m for d, i in ((128, 2), (128, 4), (256, 2))]
    assert queries == [64, 64, 16]
