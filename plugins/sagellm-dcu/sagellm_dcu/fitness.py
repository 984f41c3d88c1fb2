"""Whether the installed torch is one for DCUs. Its files tell; it is not imported."""

from __future__ import annotations

import re

from sagellm_torch.hardware import Problem
from sagellm_torch.torch_build import TorchBuild

TOOLKIT = "hip"
_GET_TORCH = (
    "Install torch from Hygon's DTK, whose version is that of the DTK on this machine, in an "
    "environment of its own."
)
#: What Hygon's builds have in the local part of their version: 2.4.1+das.opt1.dtk25041.
_OF_THE_DTK = re.compile(r"das|dtk")


def build_problem(build: TorchBuild | None) -> Problem | None:
    """What is wrong with this torch, on any DCU."""
    if build is None:
        return Problem("torch is not installed", _GET_TORCH)
    if build.toolkits is None or TOOLKIT in build.toolkits:
        return None  # of a build that does not say what it is, importing it will tell
    built_for = ", ".join(sorted(build.toolkits))
    if built_for:
        return Problem(f"{build} is a build for {built_for}, not for HIP", _GET_TORCH)
    return Problem(f"{build} is a build without HIP", _GET_TORCH)


def is_of_the_dtk(build: TorchBuild) -> bool:
    """Whether it calls itself Hygon's."""
    return _OF_THE_DTK.search(build.version.partition("+")[2]) is not None
