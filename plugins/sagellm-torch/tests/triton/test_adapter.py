"""An adapter with kernels, and what it does without them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from sagellm_torch import CacheShape, KVCache
from sagellm_torch.triton import AttentionTile, MaskedCache, TileTable, TritonAdapter

from sagellm_core.contract import ConfigurationError

TILE = AttentionTile(head_dim=64, itemsize=4, block_n=16)
TABLE = TileTable(prefill=(TILE,), decode=(TILE,), shared_memory=1 << 20, programs=1)


def _shape(head_dim: int) -> CacheShape:
    return CacheShape(
        num_layers=1,
        num_blocks=2,
        block_size=4,
        num_kv_heads=1,
        head_dim=head_dim,
        dtype=torch.float32,
    )


@pytest.mark.parametrize("value", ["off", False])
def test_the_kernels_can_be_left_out(value, tiny_model, load, drive, prompts) -> None:
    adapter = TritonAdapter("cpu", {"triton": value}, TABLE)
    assert not adapter.kernels_ready
    assert type(adapter.allocate_cache(_shape(16))) is KVCache
    tiny = tiny_model("llama")
    model = load(tiny.path, adapter)
    (prompt,) = prompts([9])
    assert drive(model).generate([prompt], 4) == [tiny.greedy(prompt, 4)]
    # The user asked for it: nothing to tell.
    assert model.notes == ()


def test_a_wrong_value(tiny_model) -> None:
    with pytest.raises(ConfigurationError, match="triton='yes' is not valid"):
        TritonAdapter("cpu", {"triton": "yes"}, TABLE)


_WITHOUT = """
import sys
sys.modules["triton"] = None  # as where it is not installed
from sagellm_core.contract import ConfigurationError
from sagellm_torch.triton import AttentionTile, TileTable, TritonAdapter
tile = AttentionTile(head_dim=64, itemsize=4, block_n=16)
table = TileTable(prefill=(tile,), decode=(tile,), shared_memory=1 << 20, programs=1)
adapter = TritonAdapter("cpu", {}, table)
print(*adapter.kernel_notes)
try:
    TritonAdapter("cpu", {"triton": "on"}, table)
except ConfigurationError as error:
    print(error.message, error.hint)
"""


def test_where_triton_is_not_installed() -> None:
    found = subprocess.run(
        [sys.executable, "-c", _WITHOUT], capture_output=True, text=True, timeout=120, check=True
    )
    note, refusal = found.stdout.strip().splitlines()
    assert note == "Slower operators of torch compute, because triton is not installed."
    assert refusal == (
        "triton='on' was asked for, and triton is not installed. "
        "Install triton, or leave the option out."
    )


def test_importing_the_package_imports_no_triton() -> None:
    code = "import sagellm_torch.triton, sys; print('triton' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert found.stdout.strip() == "False"


@pytest.mark.usefixtures("interpreted")
def test_heads_too_large_for_any_tile_go_without(tiny_model, load, drive, prompts) -> None:
    adapter = TritonAdapter("cpu", {}, TABLE)
    assert isinstance(adapter.allocate_cache(_shape(64)), MaskedCache)
    tiny = tiny_model("qwen3", head_dim=80, num_hidden_layers=1)
    model = load(tiny.path, adapter)
    (prompt,) = prompts([9])
    assert drive(model).generate([prompt], 3) == [tiny.greedy(prompt, 3)]
    assert model.notes == (
        "Slower operators of torch compute attention. "
        "There is no tile for heads of 80 elements of 4 bytes.",
    )
