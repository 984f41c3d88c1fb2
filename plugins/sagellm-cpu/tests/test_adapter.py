"""The CPU as a device: threads, types, linear layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sagellm_cpu.adapter import CPUAdapter
from sagellm_cpu.footprint import LARGEST_TIED_COPY, tied_copy_bytes
from sagellm_cpu.packed_linear import PackedLinear, packing_available
from sagellm_cpu.processor import usable_threads
from sagellm_torch import DenseLinear, DeviceAdapter
from sagellm_torch.activations import ACTIVATIONS

from sagellm_core.contract import ConfigurationError


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_set() -> None:
    assert CPUAdapter({"threads": 1}).threads == 1
    assert torch.get_num_threads() == 1


def test_more_threads_than_processors_are_told(caplog) -> None:
    usable = usable_threads(Path("/"))
    CPUAdapter({"threads": usable})
    assert not caplog.records
    CPUAdapter({"threads": usable + 1})
    (notice,) = caplog.records
    assert f"threads={usable + 1} is more than" in notice.getMessage()


@pytest.mark.parametrize("threads", [0, -1, 1.5, "two", True, 10**6, 2**40])
def test_impossible_threads(threads) -> None:
    with pytest.raises(ConfigurationError, match="threads"):
        CPUAdapter({"threads": threads})


@pytest.mark.parametrize("off", ["off", False])
def test_switches_are_words_and_what_yaml_makes_of_them(off) -> None:
    adapter = CPUAdapter({"native": off, "packed_cache": True})
    assert adapter.kernel_notes == ()
    for wrong in ("no", 0, None):
        with pytest.raises(ConfigurationError, match="native"):
            CPUAdapter({"native": wrong})


def test_an_unknown_option() -> None:
    with pytest.raises(ConfigurationError, match="'thread'") as caught:
        CPUAdapter({"thread": 2})
    assert "'threads'" in caught.value.hint


@pytest.mark.parametrize("asked", ["auto", "float32", "float16", "bfloat16"])
def test_it_computes_in_float32_and_says_so(asked) -> None:
    choice = CPUAdapter().choose_dtype(asked, torch.float16)
    assert choice.dtype is torch.float32
    assert bool(choice.note) == (asked in ("float16", "bfloat16"))
    assert asked in choice.note or not choice.note


def test_memory_is_known_and_the_cache_takes_a_quarter() -> None:
    adapter = CPUAdapter()
    memory = adapter.memory()
    assert memory is not None
    assert 0 < memory.free <= memory.total
    assert adapter.cache_budget(1000, 10**9) == 250
    assert adapter.cache_budget(10**9, 1000) == 1000


@pytest.mark.skipif(not packing_available(), reason="torch has no oneDNN linear operators here")
@pytest.mark.parametrize("rows", [1, 2, 16, 100])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (64, 48), (200, 129)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_packed_layers_compute_the_same(rows, shape, with_bias) -> None:
    weight = torch.randn(shape)
    bias = torch.randn(shape[0]) if with_bias else None
    x = torch.randn(rows, shape[1])
    packed = PackedLinear(weight.clone(), bias)
    exact = (x.double() @ weight.double().T) + (bias.double() if with_bias else 0)
    # One rounding for each of up to 129 products, of sums up to some 50.
    torch.testing.assert_close(packed(x), exact.float(), atol=1e-4, rtol=1e-5)
    assert packed.nbytes == weight.nbytes


@pytest.mark.parametrize("make", [CPUAdapter, lambda: DeviceAdapter("cpu")])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("rows", [1, 33])
def test_fused_layers_compute_the_same(rows, with_bias, make) -> None:
    adapter = make()
    weight, x, residual = torch.randn(70, 48), torch.randn(rows, 48), torch.randn(rows, 70)
    bias = torch.randn(70) if with_bias else None
    exact = (x.double() @ weight.double().T) + (bias.double() if with_bias else 0)
    before = residual.clone()
    total = adapter.residual_linear(weight.clone(), bias)(x, residual)
    torch.testing.assert_close(total, (exact + residual).float(), atol=5e-5, rtol=1e-5)
    assert torch.equal(residual, before)
    for name, function in ACTIVATIONS.items():
        found = adapter.activated_linear(weight.clone(), bias, name)(x)
        torch.testing.assert_close(found, function(exact).float(), atol=5e-5, rtol=1e-5)


def test_a_tied_head_is_copied_up_to_a_size() -> None:
    assert tied_copy_bytes(LARGEST_TIED_COPY) == LARGEST_TIED_COPY
    assert tied_copy_bytes(LARGEST_TIED_COPY + 1) == 0
    adapter = CPUAdapter()
    assert adapter.linear_copies(1000, shared=False) == 0
    assert adapter.linear_copies(1000, shared=True) == (1000 if packing_available() else 0)
    # Beyond the size the weight itself is used. (Its pages are never touched.)
    large = torch.empty(LARGEST_TIED_COPY // 4 + 1, 1)
    layer = adapter.linear(large, None, shared=True)
    assert isinstance(layer, DenseLinear)
    assert layer.nbytes == 0


def test_argmax_is_the_first_of_the_largest() -> None:
    adapter = CPUAdapter()
    logits = torch.randn(5, 3000).round(decimals=1)
    with torch.inference_mode():
        found = adapter.argmax(logits + 0)
    assert torch.equal(found, logits.argmax(-1))
    assert found.dtype == torch.int64
    logits[2, 40] = float("nan")
    assert adapter.argmax(logits)[2] == 40
