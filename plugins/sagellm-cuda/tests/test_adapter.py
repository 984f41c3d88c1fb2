"""The adapter of a GPU, made from what the GPU is; nothing here starts CUDA."""

from __future__ import annotations

import pytest
import torch
from sagellm_cuda.adapter import CUDAAdapter
from sagellm_cuda.build import require_cuda
from sagellm_cuda.processor import Processor
from sagellm_torch.torch_build import TorchBuild

from sagellm_core.contract import ConfigurationError, DeviceUnavailableError

H100 = Processor((9, 0), 132, 232448)
T4 = Processor((7, 5), 40, 65536)


@pytest.mark.parametrize(
    ("processor", "asked", "stored", "expected"),
    [
        (H100, "auto", torch.bfloat16, torch.bfloat16),
        (H100, "auto", torch.float16, torch.float16),
        (H100, "auto", torch.float32, torch.bfloat16),
        (H100, "auto", None, torch.bfloat16),
        (H100, "float32", torch.bfloat16, torch.float32),
        (H100, "float16", torch.bfloat16, torch.float16),
        (T4, "auto", torch.float32, torch.float16),
        (T4, "float32", torch.bfloat16, torch.float32),
    ],
)
def test_what_it_computes_in(processor, asked, stored, expected) -> None:
    choice = CUDAAdapter("cuda:0", {}, processor).choose_dtype(asked, stored)
    assert choice.dtype is expected
    assert choice.note == ""


def test_a_gpu_without_bfloat16_says_so() -> None:
    adapter = CUDAAdapter("cuda:0", {}, T4)
    asked = adapter.choose_dtype("bfloat16", torch.bfloat16)
    assert asked.dtype is torch.float16
    assert asked.note == (
        "bfloat16 was asked for; this GPU (compute capability 7.5) has none, so it computes in "
        "float16."
    )
    stored = adapter.choose_dtype("auto", torch.bfloat16)
    assert stored.dtype is torch.float16
    assert "The weights are bfloat16" in stored.note


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (TorchBuild("2.9.0+rocm6.4", {"hip": "6.4.1"}), "is a build for HIP, not for CUDA"),
        (TorchBuild("2.13.0+cpu", {}), "is a build without CUDA"),
    ],
)
def test_another_build_of_torch_is_refused(build, words) -> None:
    with pytest.raises(DeviceUnavailableError, match=words) as caught:
        require_cuda(build)
    assert "pytorch.org" in caught.value.hint


def test_a_build_for_cuda_is_taken() -> None:
    require_cuda(TorchBuild("2.13.0+cu130", {"cuda": "13.0"}))


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is built for CUDA")
def test_it_refuses_the_torch_that_is_here() -> None:
    with pytest.raises(DeviceUnavailableError):
        CUDAAdapter("cuda:0")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"graph": "off"}, "Did you mean 'graphs'"),
        ({"streams": 2}, "This provider knows: graphs, triton"),
    ],
)
def test_an_unknown_option(options, words) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CUDAAdapter("cuda:0", options, H100)
    assert words in caught.value.hint


def test_a_wrong_value() -> None:
    with pytest.raises(ConfigurationError, match="graphs=3 is not valid"):
        CUDAAdapter("cuda:0", {"graphs": 3}, H100)


@pytest.mark.parametrize("options", [{"graphs": "off"}, {"graphs": False}, {"triton": "off"}])
def test_steps_are_not_recorded_where_that_is_not_wanted_or_cannot_be(options) -> None:
    adapter = CUDAAdapter("cuda:0", options, H100)
    assert adapter.recorder() is None

    def forward(step):
        raise AssertionError("not called")

    assert adapter.capture_decode(forward, forward, 8) is forward


def test_the_next_step_is_queued_before_the_last_one_is_read() -> None:
    assert CUDAAdapter("cuda:0", {}, H100).queues_ahead


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_lack_of_memory(error) -> None:
    assert CUDAAdapter("cuda:0", {}, H100).is_out_of_memory(error)


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: unspecified launch failure",
        "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...",
        "CUDA error: device-side assert triggered",
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: the launch timed out and was terminated",
    ],
)
@pytest.mark.parametrize("kind", [RuntimeError, getattr(torch, "AcceleratorError", RuntimeError)])
def test_a_gpu_that_is_gone_is_not_asked(words, kind) -> None:
    adapter = CUDAAdapter("cuda:0", {}, H100)
    assert adapter.is_lost(kind(words))
    assert not adapter.is_out_of_memory(kind(words))


def test_memory_for_the_cache() -> None:
    adapter = CUDAAdapter("cuda:0", {}, H100)
    assert adapter.cache_budget(1000, 10_000) == 850
    assert adapter.cache_budget(1000, 300) == 300
