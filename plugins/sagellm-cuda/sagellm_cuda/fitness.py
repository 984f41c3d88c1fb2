"""Whether the installed torch fits a GPU and its driver. Its files tell; it is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sagellm_torch.hardware import Problem
from sagellm_torch.torch_build import TorchBuild

from .driver_files import has_compatibility_library
from .gpu import GPU
from .nvml import NVMLReport

TOOLKIT = "cuda"
_HIP = "hip"
_GET_TORCH = "Install torch's build for CUDA, by the command that pytorch.org gives."
#: The oldest compute capability that a toolkit compiles for, and the oldest driver that runs what
#: it compiled, by the toolkit's major version (NVIDIA's release notes: "CUDA Driver and
#: Toolkit", minor version compatibility; "Deprecated and Dropped Features").
_OLDEST: Mapping[int, tuple[tuple[int, int], int]] = {
    11: ((3, 5), 450),
    12: ((5, 0), 525),
    13: ((7, 5), 580),
}


def build_problem(build: TorchBuild | None) -> Problem | None:
    """What is wrong with this torch, on any GPU."""
    if build is None:
        return Problem("torch is not installed", _GET_TORCH)
    if build.toolkits is None or TOOLKIT in build.toolkits:
        return None  # of a build that does not say what it is, importing it will tell
    if _HIP in build.toolkits:
        return Problem(
            f"{build} is a build for HIP, not for CUDA",
            f"{_GET_TORCH} The two need environments of their own.",
        )
    return Problem(f"{build} is a build without CUDA", _GET_TORCH)


def misfit(
    build: TorchBuild | None,
    gpu: GPU,
    driver: str,
    nvml: NVMLReport,
    env: Mapping[str, str],
    root: Path,
) -> Problem | None:
    """Why this torch cannot use this GPU under this driver; ``None`` where nothing is known
    against it."""
    problem = build_problem(build)
    if problem is not None or build is None:
        return problem
    toolkit = toolkit_version(build)
    if toolkit is None or toolkit[0] not in _OLDEST:
        return None
    major = toolkit[0]
    oldest, oldest_driver = _OLDEST[major]
    if gpu.capability is not None and gpu.capability < oldest:
        return Problem(
            f"its compute capability is {_dotted(gpu.capability)}, and {build} "
            f"(CUDA {major}) needs {_dotted(oldest)}",
            "Install a torch that was built for an older CUDA, by the command that pytorch.org "
            "gives.",
        )
    if _driver_is_older(driver, oldest_driver, major, nvml, env, root):
        return Problem(
            f"its driver {driver} is older than what {build} (CUDA {major}) needs, {oldest_driver}",
            f"Update the driver to {oldest_driver} or newer, or install a torch that was built "
            "for an older CUDA.",
        )
    return None


def toolkit_version(build: TorchBuild | None) -> tuple[int, ...] | None:
    """Of the CUDA that torch was built with, as (12, 8)."""
    text = ((build.toolkits if build else None) or {}).get(TOOLKIT, "")
    parts = text.split(".")
    return tuple(int(part) for part in parts) if all(map(str.isdecimal, parts)) else None


def _driver_is_older(
    driver: str,
    oldest: int,
    major: int,
    nvml: NVMLReport,
    env: Mapping[str, str],
    root: Path,
) -> bool:
    if nvml.cuda is not None:
        # It comes from the very library that CUDA would use, compatibility packages included.
        return nvml.cuda[0] < major
    release = driver.partition(".")[0]
    if not release.isdecimal() or int(release) >= oldest:
        return False
    return not has_compatibility_library(env, root)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
