"""Tables of tiles: which one a model gets, and what it takes on the chip. Needs no triton."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sagellm_torch.triton import AttentionTile, TileTable, shared_bytes


def _tile(head_dim: int, itemsize: int, **changes: int) -> AttentionTile:
    return AttentionTile(head_dim=head_dim, itemsize=itemsize, **{"block_n": 32, **changes})


@pytest.fixture
def table() -> TileTable:
    tiles = (_tile(64, 2, block_n=64), _tile(128, 2), _tile(128, 4), _tile(128, 4, block_n=16))
    return TileTable(prefill=tiles, decode=tiles, shared_memory=100_000, programs=264)


@pytest.mark.parametrize(
    ("head_dim", "itemsize", "expected"),
    [(64, 2, (64, 2, 64)), (65, 2, (128, 2, 32)), (24, 4, (128, 4, 32)), (16, 1, (64, 2, 64))],
)
def test_the_first_tile_that_is_large_enough(table, head_dim, itemsize, expected) -> None:
    for tile in (table.prefill_tile(head_dim, itemsize), table.decode_tile(head_dim, itemsize, 4)):
        assert (tile.head_dim, tile.itemsize, tile.block_n) == expected


def test_a_tile_that_does_not_fit_the_memory_is_passed_over(table) -> None:
    # 32 keys and 64 queries of 512 bytes: 106,496 bytes on the chip; 16 keys: 69,632.
    assert table.prefill_tile(128, 4).block_n == 16
    # A decode step has fewer queries.
    assert table.decode_tile(128, 4, 4).block_n == 32
    assert table.decode_tile(128, 4, 64).block_n == 16


def test_products_in_float32_take_its_room(table) -> None:
    without = replace(table, float_products=True)
    tile = table.prefill[1]
    assert table.taken(tile, 64, 128, 2) == shared_bytes(tile, 64, 128, 2)
    assert without.taken(tile, 64, 128, 2) == shared_bytes(tile, 64, 128, 4)
    assert table.prefill_tile(128, 2).block_n == 32
    assert without.prefill_tile(128, 2).block_n == 16


def test_heads_that_no_tile_is_for(table) -> None:
    with pytest.raises(LookupError, match="heads of 160 elements of 2 bytes"):
        table.prefill_tile(160, 2)
    with pytest.raises(LookupError, match="heads of 128 elements of 4 bytes"):
        table.decode_tile(128, 4, 200)


def test_few_sequences_are_cut_into_more_parts(table) -> None:
    assert [table.splits(batch, 8) for batch in (1, 4, 16, 32, 33, 256)] == [64, 16, 4, 2, 1, 1]
    # Never more than the table says, whatever the device could take.
    assert table.splits(1, 1) == 64


def test_a_norm_has_a_warp_for_so_many_elements(table) -> None:
    assert [table.norm_warps(width) for width in (64, 512, 513, 4096, 16384)] == [1, 1, 2, 8, 8]


@pytest.mark.parametrize("changes", [{"block_n": 8}, {"block_n": 24}, {"block_m": 48}])
def test_sides_that_triton_does_not_take(changes) -> None:
    with pytest.raises(ValueError, match="power of two of at least 16"):
        TileTable(prefill=(_tile(64, 2, **changes),), decode=(), shared_memory=1, programs=1)


def test_numbers_that_are_no_powers_of_two() -> None:
    with pytest.raises(ValueError, match="most_splits is a power of two, not 48"):
        TileTable(prefill=(), decode=(), shared_memory=1, programs=1, most_splits=48)


def test_bytes_on_the_chip() -> None:
    # Keys and values of two stages, 64 queries, and 64 x 32 weights in float32.
    tile = _tile(128, 4, num_stages=2)
    expected = 2 * 2 * 32 * 128 * 2 + 64 * 128 * 2 + 64 * 32 * 4
    assert shared_bytes(tile, 64, 128, 2) == expected
    # Heads and rows are filled up to powers of two of at least 16.
    assert shared_bytes(tile, 5, 96, 2) == shared_bytes(tile, 16, 128, 2)
