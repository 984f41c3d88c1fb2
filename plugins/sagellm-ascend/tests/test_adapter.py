"""What the adapter decides, without a model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sagellm_ascend.adapter import NPUAdapter
from sagellm_ascend.fused_attention import fits_blocks, obstacle
from sagellm_ascend.paging import single_query_paging
from sagellm_ascend.runtime import has_fused_operators
from sagellm_ascend.testing import StandInRuntime
from sagellm_torch import AttentionConfig, CacheShape

from sagellm_core.contract import ConfigurationError, InsufficientMemoryError

_HALVES = (torch.float16, torch.bfloat16)


def _attention(**changes) -> AttentionConfig:
    settings = {"num_heads": 8, "num_kv_heads": 2, "head_dim": 128, "scale": 0.1, **changes}
    return AttentionConfig(**settings)


@pytest.mark.parametrize(
    ("asked", "stored", "bfloat16", "exact", "chosen"),
    [
        ("auto", torch.bfloat16, True, False, torch.bfloat16),
        ("auto", torch.float16, True, False, torch.float16),
        ("auto", torch.float32, True, False, torch.bfloat16),
        ("auto", torch.float32, True, True, torch.float32),
        ("auto", torch.bfloat16, True, True, torch.bfloat16),
        ("auto", None, True, False, torch.bfloat16),
        ("auto", torch.bfloat16, False, False, torch.float16),
        ("auto", None, False, False, torch.float16),
        ("bfloat16", torch.float32, True, False, torch.bfloat16),
        ("float16", torch.bfloat16, True, False, torch.float16),
        ("float32", torch.bfloat16, True, False, torch.float32),
    ],
)
def test_types(asked, stored, bfloat16, exact, chosen) -> None:
    adapter = NPUAdapter("cpu", StandInRuntime(bfloat16=bfloat16), exact=exact)
    choice = adapter.choose_dtype(asked, stored)
    assert (choice.dtype, choice.note) == (chosen, "")


def test_a_chip_without_bfloat16_says_so() -> None:
    adapter = NPUAdapter("cpu", StandInRuntime(bfloat16=False, chip="Ascend310P3"))
    choice = adapter.choose_dtype("bfloat16", torch.bfloat16)
    assert choice.dtype is torch.float16
    assert "Ascend310P3 does not compute in bfloat16" in choice.note


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fused_operators": "yes"}, "fused_operators='yes' is not valid"),
        ({"fused": "off"}, "'fused' is unknown"),
    ],
)
def test_options_that_are_not_valid(options, words) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        NPUAdapter("cpu", StandInRuntime(), options)
    assert "fused_operators" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "dtype", "reason"),
    [
        ({}, torch.bfloat16, ""),
        ({"head_dim": 80}, torch.float16, ""),
        ({"sliding_window": 5}, torch.float16, ""),
        ({"softcap": 50.0}, torch.bfloat16, "the model caps attention scores"),
        ({}, torch.float32, "the model runs in float32"),
        ({"head_dim": 72}, torch.float16, "heads have 72 dimensions"),
        ({"head_dim": 576}, torch.float16, "heads have 576 dimensions"),
        ({"num_heads": 96, "num_kv_heads": 1}, torch.float16, "96 heads share 1 keys"),
        (
            {"num_heads": 256, "num_kv_heads": 256, "head_dim": 512},
            torch.float16,
            "a key has 256 heads of 512 dimensions",
        ),
    ],
)
def test_what_fused_attention_does_not_have(changes, dtype, reason) -> None:
    assert obstacle(_attention(**changes), dtype, _HALVES) == reason


@pytest.mark.parametrize(("size", "fits"), [(128, True), (512, True), (16, False), (640, False)])
def test_blocks(size, fits) -> None:
    assert fits_blocks(size) is fits


@pytest.mark.parametrize(
    ("chip", "fused"),
    [
        ("Ascend910B3", True),
        ("Ascend910B4-1", True),
        ("Ascend910_9382", True),
        ("Ascend950PR_9579", True),
        ("Ascend910B", False),
        ("Ascend910ProB", False),
        ("Ascend310P3", False),
    ],
)
def test_chips(chip, fused) -> None:
    assert has_fused_operators(chip) is fused


def test_a_cache_that_attention_cannot_address() -> None:
    adapter = NPUAdapter("cpu", StandInRuntime())
    shape = CacheShape(
        num_layers=1,
        num_blocks=2**14,
        block_size=128,
        num_kv_heads=8,
        head_dim=128,
        dtype=torch.float16,
    )
    with pytest.raises(InsufficientMemoryError, match="2097152 tokens is more") as caught:
        adapter.allocate_cache(shape)
    assert "at most 16383" in caught.value.hint


def test_the_runtime_is_asked_for_what_is_the_devices() -> None:
    runtime = StandInRuntime()
    adapter = NPUAdapter("cpu", runtime)
    adapter.synchronize()
    adapter.release()
    assert (runtime.synchronized, runtime.released) == (1, 1)
    assert adapter.memory() is None
    (copied,) = adapter.download([torch.ones(2)])()
    assert copied.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("NPU function error: aclrtSynchronizeStream, error code is 507015", True),
        ("The Inner error. error code is 507899[ERROR] 2026-01-01", True),
        ("FORCE STOP.", True),
        ("HBM MULTI BIT ECC ERROR.", True),
        ("call aclnnFusedInferAttentionScoreV3 failed, error code is 561002", False),
        ("1507015", False),
        ("error code is 507003", False),
    ],
)
def test_errors_that_mean_that_the_npu_is_gone(text, lost) -> None:
    adapter = NPUAdapter("cpu", StandInRuntime())
    assert adapter.is_lost(RuntimeError(text)) is lost


def test_memory_errors() -> None:
    adapter = NPUAdapter("cpu", StandInRuntime())
    said = RuntimeError("NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; 60.97 GiB total)")
    assert adapter.is_out_of_memory(said)
    assert not adapter.is_out_of_memory(RuntimeError("error code is 561002"))


@given(
    contexts=st.lists(st.integers(1, 90), min_size=1, max_size=5),
    window=st.none() | st.integers(1, 100),
    block_size=st.sampled_from([4, 16]),
)
def test_single_queries_see_their_window(
    contexts: list[int], window: int | None, block_size: int
) -> None:
    """Read as the operator reads it, what is left are the last tokens, in order."""
    width = -(-max(contexts) // block_size)
    blocks = torch.arange(len(contexts) * width).flip(0).view(len(contexts), width)
    paging = single_query_paging(blocks, contexts, window, block_size, torch.tensor)
    table, lengths = paging["block_table"], paging["actual_seq_lengths_kv"]
    mask = paging.get("atten_mask")
    assert table.dtype is torch.int32
    assert table.shape[1] * block_size >= max(lengths)
    for row, context in enumerate(contexts):
        tokens = [
            (int(table[row, i // block_size]), i % block_size)
            for i in range(lengths[row])
            if mask is None or not bool(mask[row, 0, 0, i])
        ]
        first = 0 if window is None else max(0, context - window)
        expected = [
            (int(blocks[row, i // block_size]), i % block_size) for i in range(first, context)
        ]
        assert tokens == expected
