"""Which torch fits which GPU and driver."""

from __future__ import annotations

from typing import Any

import pytest
from sagellm_cuda.fitness import misfit
from sagellm_cuda.gpu import GPU
from sagellm_cuda.nvml import NOT_ASKED, NVMLReport
from sagellm_torch.testing.machine import make
from sagellm_torch.torch_build import TorchBuild

CUDA12 = TorchBuild("2.13.0+cu128", {"cuda": "12.8"})
CUDA13 = TorchBuild("2.13.0+cu130", {"cuda": "13.0"})


def _misfit(
    root: Any,
    build: TorchBuild | None,
    *,
    capability: tuple[int, int] | None = None,
    driver: str = "580.65.06",
    cuda: tuple[int, int] | None = None,
) -> str:
    nvml = NVMLReport(cuda=cuda) if cuda else NOT_ASKED
    problem = misfit(build, GPU(capability=capability), driver, nvml, {}, root)
    assert problem is None or problem.hint
    return problem.reason if problem else ""


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (None, "torch is not installed"),
        (TorchBuild("2.13.0+cpu", {}), "torch 2.13.0+cpu is a build without CUDA"),
        (TorchBuild("2.13.0+xpu", {"xpu": "2025.2"}), "torch 2.13.0+xpu is a build without CUDA"),
        (
            TorchBuild("2.9.0+rocm6.4", {"hip": "6.4.43482"}),
            "torch 2.9.0+rocm6.4 is a build for HIP, not for CUDA",
        ),
        (TorchBuild("", None), ""),
        (CUDA12, ""),
    ],
)
def test_builds(tmp_path, build, reason) -> None:
    assert _misfit(tmp_path, build) == reason


@pytest.mark.parametrize(
    ("build", "capability", "reason"),
    [
        (CUDA13, (7, 5), ""),
        (
            CUDA13,
            (7, 0),
            "its compute capability is 7.0, and torch 2.13.0+cu130 (CUDA 13) needs 7.5",
        ),
        (CUDA12, (7, 0), ""),
        (
            CUDA12,
            (3, 5),
            "its compute capability is 3.5, and torch 2.13.0+cu128 (CUDA 12) needs 5.0",
        ),
        (CUDA13, None, ""),
        (TorchBuild("9", {"cuda": "99.1"}), (7, 0), ""),
    ],
)
def test_compute_capability(tmp_path, build, capability, reason) -> None:
    assert _misfit(tmp_path, build, capability=capability) == reason


@pytest.mark.parametrize(
    ("build", "driver", "cuda", "fits"),
    [
        (CUDA13, "580.65.06", None, True),
        (CUDA13, "575.57.08", None, False),
        (CUDA12, "525.60.13", None, True),
        (CUDA12, "470.256.02", None, False),
        (CUDA13, "", None, True),
        # What the library says counts more than the module: it may be newer.
        (CUDA13, "535.129.03", (13, 0), True),
        (CUDA13, "580.65.06", (12, 8), False),
        (CUDA12, "535.129.03", (12, 2), True),
    ],
)
def test_drivers(tmp_path, build, driver, cuda, fits) -> None:
    reason = _misfit(tmp_path, build, driver=driver, cuda=cuda)
    assert (reason == "") == fits
    assert fits or "is older than what" in reason


def test_an_old_driver_with_the_compatibility_package(tmp_path) -> None:
    assert _misfit(tmp_path, CUDA13, driver="535.129.03")
    make(tmp_path, {"usr/local/cuda-13.0/compat/libcuda.so.1": ""})
    assert not _misfit(tmp_path, CUDA13, driver="535.129.03")
