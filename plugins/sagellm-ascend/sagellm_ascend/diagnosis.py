"""A closer look at what NPUs need, for ``sagellm doctor``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

from sagellm_torch.torch_build import installed_torch

from sagellm_core.contract import DeviceInfo, DeviceState, Finding, Severity

from .compatibility import made_for
from .detection import driver_version
from .packages import INSTALL, installed_torch_npu, packages_problem
from .toolkit import Toolkit, find_toolkit


def findings(
    device: DeviceInfo,
    env: Mapping[str, str],
    root: Path,
    search_path: Sequence[str] | None = None,
) -> list[Finding]:
    """Driver, CANN, torch_npu and torch, and whether they were made for each other.

    It is the same for all NPUs, and told once. Where there is none, only what harms all the same.
    """
    if not device.id.endswith(("npu", ":0")):
        return []
    toolkit, version = find_toolkit(env, root), installed_torch_npu(search_path)
    if device.state is DeviceState.ABSENT:
        return [] if _loads(toolkit) else list(_pair(toolkit, version))
    return [
        _driver(root),
        _toolkit(toolkit),
        _packages(version, search_path),
        *_pair(toolkit, version),
    ]


def _loads(toolkit: Toolkit | None) -> TypeGuard[Toolkit]:
    return toolkit is not None and not toolkit.problem


def _driver(root: Path) -> Finding:
    version = driver_version(root)
    if version:
        return Finding(severity=Severity.OK, message=f"Driver: {version}.")
    return Finding(
        severity=Severity.WARNING,
        message="Driver: its version is not in /usr/local/Ascend/driver/version.info.",
        hint="In a container, mount /usr/local/Ascend/driver from the host.",
    )


def _toolkit(toolkit: Toolkit | None) -> Finding:
    if toolkit is None:
        return Finding(
            severity=Severity.WARNING,
            message="CANN: not found where the environment says, nor below /usr/local/Ascend.",
            hint="Install the CANN toolkit and the kernels for your NPU.",
        )
    message = f"CANN: {toolkit.version or 'of unknown version'} in {toolkit.home}"
    if not toolkit.problem:
        return Finding(severity=Severity.OK, message=f"{message}.")
    return Finding(
        severity=Severity.WARNING,
        message=f"{message}, but {toolkit.problem}.",
        hint=f"Run: source {toolkit.script}",
    )


def _packages(version: str | None, search_path: Sequence[str] | None) -> Finding:
    if version is None:
        return Finding(
            severity=Severity.WARNING,
            message="torch_npu: not installed.",
            hint=f"Install it: {INSTALL}",
        )
    problem = packages_problem(search_path)
    if problem is not None:
        reason = problem.reason[0].upper() + problem.reason[1:]
        return Finding(severity=Severity.WARNING, message=f"{reason}.", hint=problem.hint)
    beside = installed_torch(search_path)
    return Finding(severity=Severity.OK, message=f"torch_npu: {version} beside {beside}.")


def _pair(toolkit: Toolkit | None, version: str | None) -> Iterator[Finding]:
    """Whether CANN and torch_npu belong together."""
    if version is None:
        return
    if not _loads(toolkit):
        yield Finding(
            severity=Severity.WARNING,
            message=f"torch_npu {version} is installed, so importing torch fails in every program "
            "here until CANN can be loaded.",
            hint="For the CPU alone: export TORCH_DEVICE_BACKEND_AUTOLOAD=0",
        )
        return
    wanted = made_for(version)
    if wanted is None or not toolkit.version:
        known = f"torch_npu {version}" if wanted is None else str(toolkit)
        yield Finding(
            severity=Severity.OK,
            message=f"Whether CANN and torch_npu match is not known here for {known}.",
        )
    elif wanted == toolkit.version:
        yield Finding(severity=Severity.OK, message=f"torch_npu {version} is made for {toolkit}.")
    else:
        yield Finding(
            severity=Severity.WARNING,
            message=f"torch_npu {version} is made for CANN {wanted}; {toolkit.version} is "
            "installed.",
            hint="If operators fail, install the two that belong together.",
        )
