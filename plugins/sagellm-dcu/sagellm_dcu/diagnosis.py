"""A closer look at a DCU, for ``sagellm doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from sagellm_torch.hardware import in_container

from sagellm_core.contract import DeviceInfo, DeviceState, Finding, Severity

from . import topology
from .detection import GIVE, Surroundings
from .fitness import build_problem, is_of_the_dtk
from .topology import HYGON
from .visibility import visible


def diagnose(device: DeviceInfo, here: Surroundings) -> list[Finding]:
    """Findings about a device that :func:`~.detection.detect` told of; none where none is."""
    if device.state is DeviceState.ABSENT:
        return []
    return [_driver(here), *_files(here), _torch(here), _triton(), *_visibility(here)]


def _driver(here: Surroundings) -> Finding:
    if not topology.has_driver(here.root) and not topology.has_topology(here.root):
        return Finding(
            severity=Severity.ERROR,
            message="Driver: none is loaded.",
            hint="Install Hygon's driver.",
        )
    version = topology.driver_version(here.root) or "of unknown version"
    return Finding(severity=Severity.OK, message=f"Driver: {version}.")


def _files(here: Surroundings) -> Iterator[Finding]:
    """What some versions of the DTK need beside /dev/kfd."""
    container = in_container(here.env, here.root)
    for name, purpose in (
        ("dev/mkfd", "newer drivers need it"),
        ("opt/hyhal", "without it torch finds no libraries of the driver"),
    ):
        if not (here.root / name).exists():
            yield Finding(
                severity=Severity.WARNING,
                message=f"There is no /{name}: {purpose}.",
                hint=GIVE if container else "It comes with Hygon's driver.",
            )


def _torch(here: Surroundings) -> Finding:
    problem = build_problem(here.torch)
    if problem is not None:
        reason = problem.reason[0].upper() + problem.reason[1:]
        return Finding(severity=Severity.ERROR, message=f"{reason}.", hint=problem.hint)
    assert here.torch is not None, "no torch is a problem"
    if not is_of_the_dtk(here.torch):
        return Finding(
            severity=Severity.WARNING,
            message=f"{here.torch} does not call itself a build of the DTK.",
            hint="Builds for other HIP devices have no code for DCUs.",
        )
    return Finding(severity=Severity.OK, message=f"{here.torch}, a build of the DTK.")


def _triton() -> Finding:
    if find_spec("triton") is not None:
        return Finding(severity=Severity.OK, message="Triton: installed.")
    return Finding(
        severity=Severity.WARNING,
        message="Triton: not installed, so torch's own operators compute.",
        hint="Install the triton of the DTK; the one on PyPI has no code for DCUs.",
    )


def _visibility(here: Surroundings) -> Iterator[Finding]:
    ours = [each for each in topology.accelerators(here.root) if each.vendor == HYGON]
    for said, entry in visible(ours, here.env).cuts:
        yield Finding(
            severity=Severity.WARNING,
            message=f"{said} ends at {entry!r}, which names no DCU, or one named before.",
            hint="Everything after that entry is hidden too.",
        )
