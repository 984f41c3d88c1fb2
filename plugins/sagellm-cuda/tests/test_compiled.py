"""The kernels as Triton compiles them for NVIDIA GPUs: ``nox -s triton``."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
import torch
from sagellm_cuda.processor import Processor
from sagellm_cuda.tiles import tile_table

pytestmark = [
    pytest.mark.skipif(
        find_spec("triton") is None, reason="triton is not installed: `nox -s triton` compiles"
    ),
    pytest.mark.skipif(
        os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter does not compile"
    ),
]

PROCESSORS = {
    75: Processor((7, 5), 40, 65536),
    80: Processor((8, 0), 108, 166912),
    90: Processor((9, 0), 132, 232448),
}


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        (75, torch.float16),
        (80, torch.bfloat16),
        (90, torch.bfloat16),
        (90, torch.float32),
    ],
)
@pytest.mark.parametrize("head_dim", [64, 128, 256])
def test_the_compiler_takes_no_more_than_we_reckon(capability, dtype, head_dim) -> None:
    from sagellm_torch.triton.offline import compile_decode, compile_prefill
    from triton.backends.compiler import GPUTarget

    target, processor = GPUTarget("cuda", capability, 32), PROCESSORS[capability]
    table = tile_table(processor)
    prefill = table.prefill_tile(head_dim, dtype.itemsize)
    decode = table.decode_tile(head_dim, dtype.itemsize, 4)
    for compiled, tile, rows in (
        (compile_prefill(target, prefill, head_dim, dtype), prefill, prefill.block_m),
        (compile_decode(target, decode, head_dim, dtype), decode, 4),
    ):
        reckoned = table.taken(tile, rows, head_dim, dtype.itemsize)
        assert 0 < compiled.metadata.shared <= reckoned <= processor.shared_memory


@pytest.mark.parametrize("head_dim", [64, 128])
def test_an_h100_multiplies_by_its_matrix_units_and_spills_no_register(head_dim) -> None:
    from sagellm_torch.triton.offline import compile_decode, compile_prefill
    from triton.backends.compiler import GPUTarget

    target, table = GPUTarget("cuda", 90, 32), tile_table(PROCESSORS[90])
    prefill = compile_prefill(target, table.prefill_tile(head_dim, 2), head_dim, torch.bfloat16)
    decode = compile_decode(target, table.decode_tile(head_dim, 2, 4), head_dim, torch.bfloat16)
    assert "wgmma" in prefill.asm["ptx"]
    for compiled in (prefill, decode):
        # Keys and values come while others are multiplied.
        assert "cp.async" in compiled.asm["ptx"]
        assert "st.local" not in compiled.asm["ptx"]
