"""torch_npu and the torch beside it, read from what is installed; neither is imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.metadata import distributions

from sagellm_torch.hardware import Problem
from sagellm_torch.torch_build import installed_torch

#: How to get it. torch comes first: without a version, pip may take one built for CUDA.
INSTALL = "pip install 'sagellm-ascend[npu]'"
_NUMBERS = re.compile(r"\d+\.\d+\.\d+")


def installed_torch_npu(search_path: Sequence[str] | None = None) -> str | None:
    """The version of torch_npu; ``None`` where it is not installed."""
    where = sys.path if search_path is None else list(search_path)
    for found in distributions(name="torch-npu", path=where):
        return str(found.version)
    return None


def packages_problem(search_path: Sequence[str] | None = None) -> Problem | None:
    """What is wrong with the packages that drive NPUs; ``None``: nothing that their files tell.

    torch_npu X.Y.Z takes torch X.Y.Z alone, and no torch with support for another accelerator.

    :param search_path: directories to look in instead of those that imports look in.
    """
    version = installed_torch_npu(search_path)
    if version is None:
        return Problem("torch_npu is not installed", f"Install it: {INSTALL}")
    torch = installed_torch(search_path)
    if torch is None:
        return Problem(
            f"torch_npu {version} is installed, but torch is not",
            f"Install torch {_numbers(version)} in a build for the CPU.",
        )
    wanted = _numbers(version)
    if torch.toolkits:
        toolkit, release = next(iter(torch.toolkits.items()))
        return Problem(
            f"{torch} was built for {toolkit} {release}, which torch_npu does not run beside",
            f"Install torch {wanted} in a build for the CPU, in an environment of its own.",
        )
    if wanted and torch.version and _numbers(torch.version) != wanted:
        return Problem(
            f"torch_npu {version} needs torch {wanted}, and {torch} is installed",
            f"Install torch {wanted} in a build for the CPU, or the torch_npu for your torch.",
        )
    return None


def _numbers(version: str) -> str:
    """``2.9.0`` of ``2.9.0.post2`` or ``2.9.0+cpu``."""
    match = _NUMBERS.match(version)
    return match[0] if match else ""
