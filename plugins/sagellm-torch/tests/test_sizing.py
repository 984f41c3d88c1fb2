"""How the KV cache is sized."""

from __future__ import annotations

import pytest
import torch
from sagellm_torch import DeviceAdapter, DeviceMemory, read_decoder_config
from sagellm_torch.sizing import cache_shape

from sagellm_core.contract import InsufficientMemoryError, RunnerConfig

DECODER = read_decoder_config(
    {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 100,
    }
)
#: 2 layers, keys and values, 16 tokens, 2 heads of 16, float32.
BLOCK = 2 * 2 * 16 * 2 * 16 * 4


class Sized(DeviceAdapter):
    def __init__(self, free: int | None) -> None:
        super().__init__("cpu")
        self._free = free

    def memory(self):
        return None if self._free is None else DeviceMemory(2 * self._free, self._free)


def _shape(free, **config):
    settings = RunnerConfig(**{"max_slots": 4, "max_model_len": 160, **config})
    return cache_shape(DECODER, settings, Sized(free), torch.float32)


def test_so_many_blocks_exactly() -> None:
    shape = _shape(100 * BLOCK, num_blocks=3)
    assert (shape.num_blocks, shape.bytes_per_block, shape.nbytes) == (3, BLOCK, 3 * BLOCK)
    with pytest.raises(InsufficientMemoryError, match="101 blocks"):
        _shape(100 * BLOCK, num_blocks=101)


def test_by_bytes() -> None:
    assert _shape(100 * BLOCK, kv_memory_bytes=12 * BLOCK + 5).num_blocks == 12
    with pytest.raises(InsufficientMemoryError, match="are free"):
        _shape(100 * BLOCK, kv_memory_bytes=101 * BLOCK)
    with pytest.raises(InsufficientMemoryError, match="160 tokens") as caught:
        _shape(100 * BLOCK, kv_memory_bytes=9 * BLOCK)
    assert "at most 144" in caught.value.hint
    assert f"kv_memory_bytes to at least {10 * BLOCK}" in caught.value.hint


def test_less_than_one_block_is_told_what_one_takes() -> None:
    """No length of sequence fits: an advice to shorten it would come again and again."""
    for length in (16, 160):
        with pytest.raises(InsufficientMemoryError) as caught:
            _shape(100 * BLOCK, kv_memory_bytes=BLOCK - 1, max_model_len=length)
        assert f"kv_memory_bytes to at least {BLOCK}" in caught.value.hint
        assert "max_model_len" not in caught.value.hint
    with pytest.raises(InsufficientMemoryError, match="a safe share") as caught:
        _shape(BLOCK)
    assert caught.value.hint.startswith("Free memory")


def test_by_a_share_of_what_is_free_and_never_more_than_enough() -> None:
    assert _shape(20 * BLOCK).num_blocks == 16
    assert _shape(10_000 * BLOCK).num_blocks == 4 * 10
    with pytest.raises(InsufficientMemoryError):
        _shape(11 * BLOCK)


def test_unknown_memory_gives_one_sequence() -> None:
    assert _shape(None).num_blocks == 10
