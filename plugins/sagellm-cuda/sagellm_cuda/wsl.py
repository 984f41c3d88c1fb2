"""GPUs under Windows Subsystem for Linux: there Windows has the driver, and lends its libraries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sagellm_torch.hardware import AccessCheck, Problem

from .driver_files import WINDOWS_NODE, has_cuda_library
from .gpu import GPU
from .nvml import NVMLReport

_LIBRARIES = "usr/lib/wsl/lib"


def is_wsl(root: Path) -> bool:
    """Whether Windows lends a GPU."""
    return (root / WINDOWS_NODE).exists()


def lent_gpus(
    env: Mapping[str, str], root: Path, nvml: NVMLReport, access: AccessCheck, *, container: bool
) -> tuple[GPU, ...]:
    """NVIDIA's among what Windows lends; without NVML one, because nothing tells their number."""
    # Only NVIDIA's driver puts this library there; into a container it comes by another way.
    has_library = any((root / _LIBRARIES).glob("libcuda.so*")) or (
        container and has_cuda_library(env, root)
    )
    gpus = nvml.gpus
    if not gpus and has_library:
        gpus = (GPU(name="NVIDIA GPU"),)
    problem = nvml.problem
    if not access(root / WINDOWS_NODE):
        problem = Problem("this user may not open /dev/dxg", "Let it read and write /dev/dxg.")
    elif not has_library:
        problem = Problem(
            "there is no libcuda.so in /usr/lib/wsl/lib",
            "Install NVIDIA's driver on Windows; start containers with --gpus all.",
        )
    return tuple(replace(gpu, problem=problem or gpu.problem) for gpu in gpus)
