"""The kernels as Triton compiles them with this table: ``nox -s triton``.

Triton's own releases know AMD's chips and not Hygon's, whose compiler comes with the DTK. gfx90a is
the nearest that has a wave of 64 threads.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
import torch
from sagellm_dcu.tiles import LDS_BYTES, TILES

pytestmark = [
    pytest.mark.skipif(
        find_spec("triton") is None, reason="triton is not installed: `nox -s triton` compiles"
    ),
    pytest.mark.skipif(
        os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter does not compile"
    ),
]


@pytest.fixture(scope="module")
def target():
    from triton.backends.compiler import GPUTarget

    return GPUTarget("hip", "gfx90a", 64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("head_dim", [64, 96, 128, 256])
def test_the_compiler_takes_no_more_than_we_reckon(head_dim, dtype, target) -> None:
    from sagellm_torch.triton.offline import compile_decode, compile_prefill

    prefill = TILES.prefill_tile(head_dim, dtype.itemsize)
    decode = TILES.decode_tile(head_dim, dtype.itemsize, 8)
    for compiled, tile, rows in (
        (compile_prefill(target, prefill, head_dim, dtype), prefill, prefill.block_m),
        (compile_decode(target, decode, head_dim, dtype, 8), decode, 8),
    ):
        reckoned = TILES.taken(tile, rows, head_dim, dtype.itemsize)
        assert 0 < compiled.metadata.shared <= reckoned <= LDS_BYTES
