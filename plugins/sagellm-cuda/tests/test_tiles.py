"""Tiles by what a GPU has."""

from __future__ import annotations

import pytest
from sagellm_cuda.processor import Processor
from sagellm_cuda.tiles import tile_table

#: Shared memory of a program, from NVIDIA's programming guide.
PROCESSORS = {
    "T4": Processor((7, 5), 40, 65536),
    "A100": Processor((8, 0), 108, 166912),
    "RTX 3060": Processor((8, 6), 28, 101376),
    "L4": Processor((8, 9), 58, 101376),
    "H100": Processor((9, 0), 132, 232448),
    "RTX 5090": Processor((12, 0), 170, 101376),
}


@pytest.mark.parametrize("processor", PROCESSORS.values(), ids=list(PROCESSORS))
@pytest.mark.parametrize("itemsize", [2, 4])
@pytest.mark.parametrize("head_dim", [16, 64, 80, 96, 128, 192, 256])
def test_there_is_a_tile_that_fits(processor, head_dim, itemsize) -> None:
    table = tile_table(processor)
    prefill = table.prefill_tile(head_dim, itemsize)
    decode = table.decode_tile(head_dim, itemsize, 16)
    for tile, rows in ((prefill, prefill.block_m), (decode, 16)):
        assert table.taken(tile, rows, head_dim, itemsize) <= processor.shared_memory


def test_a_small_gpu_has_smaller_tiles() -> None:
    large, small = (tile_table(PROCESSORS[name]) for name in ("H100", "T4"))
    assert large.prefill_tile(128, 2).block_m == 128
    assert small.prefill_tile(128, 2).block_m == 32
    assert large.decode_tile(128, 2, 4).num_stages == 5


def test_heads_that_nothing_is_for() -> None:
    with pytest.raises(LookupError):
        tile_table(PROCESSORS["H100"]).prefill_tile(1024, 2)


def test_a_lone_sequence_keeps_the_whole_gpu_busy() -> None:
    table = tile_table(PROCESSORS["H100"])
    assert table.splits(1, 8) * 8 >= 2 * 132
    # With as many sequences as there is room for, none is cut.
    assert table.splits(256, 8) == 1
