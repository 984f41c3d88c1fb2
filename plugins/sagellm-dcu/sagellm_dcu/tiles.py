"""The kernels' tiles on a DCU: what fits 64 KB of on-chip memory (LDS)."""

from __future__ import annotations

from sagellm_torch.triton import AttentionTile, TileTable

#: Bytes of LDS that a program may have: gfx906 to gfx936 alike.
LDS_BYTES = 64 * 1024


def _tile(queries: int, warps: int) -> AttentionTile:
    # 16 keys a turn are known to be good here. One stage: no copies to LDS go on beside the
    # arithmetic, so more of them would only take room.
    return AttentionTile(
        head_dim=256, itemsize=4, block_m=queries, block_n=16, num_warps=warps, num_stages=1
    )


#: Best first; what does not fit the LDS with a model's heads is passed over. A warp has 64 threads
#: here, twice as many as elsewhere: half as many warps do the same.
TILES = TileTable(
    prefill=(_tile(64, 4), _tile(16, 4)),
    decode=(_tile(16, 2),),
    shared_memory=LDS_BYTES,
    # Not every DCU has matrix units that its triton uses, so tiles have to fit without them.
    float_products=True,
    # The smallest DCU has 60 compute units; two programs for each keep them busy.
    programs=128,
    most_splits=32,
    norm_elements_per_warp=1024,
    most_norm_warps=4,
    activation_warps=2,
    rotary_warps=1,
)
