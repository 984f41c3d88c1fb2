"""The kernels' tiles on NVIDIA GPUs."""

from __future__ import annotations

from sagellm_torch.triton import AttentionTile, TileTable

from .processor import Processor


def _prefill(
    head_dim: int, itemsize: int, queries: int, keys: int, warps: int, stages: int
) -> AttentionTile:
    return AttentionTile(
        head_dim=head_dim,
        itemsize=itemsize,
        block_m=queries,
        block_n=keys,
        num_warps=warps,
        num_stages=stages,
    )


def _decode(keys: int, stages: int) -> AttentionTile:
    return AttentionTile(head_dim=512, itemsize=4, block_n=keys, num_warps=4, num_stages=stages)


#: From here on triton multiplies by matrix units.
_MATRIX_UNITS = (8, 0)
#: Best first; what does not fit a GPU's shared memory is passed over. Compiled for compute
#: capability 9.0, none of the first four spills registers.
_PREFILL = (
    _prefill(128, 2, 128, 64, 8, 3),
    _prefill(128, 2, 128, 64, 8, 2),
    _prefill(128, 2, 64, 64, 4, 2),
    _prefill(128, 2, 64, 32, 4, 2),
    _prefill(512, 2, 64, 32, 8, 2),
    _prefill(512, 2, 32, 16, 4, 1),
    # Products in float32 keep their operands in registers, so these are small.
    _prefill(128, 4, 32, 16, 4, 1),
    _prefill(512, 4, 16, 16, 4, 1),
)
#: A decode step waits for memory, so much has to be on its way. From five stages on, two turns
#: are: the block tables are a load of their own.
_DECODE = (
    _decode(64, 5),
    _decode(64, 4),
    _decode(32, 5),
    _decode(32, 3),
    _decode(16, 5),
    _decode(16, 2),
    _decode(16, 1),
)


def tile_table(processor: Processor) -> TileTable:
    """Tiles for this GPU."""
    return TileTable(
        prefill=_PREFILL,
        decode=_DECODE,
        shared_memory=processor.shared_memory,
        float_products=processor.capability < _MATRIX_UNITS,
        # Two programs for each multiprocessor: one computes while the other waits for memory.
        programs=2 * processor.multiprocessors,
    )
