"""What ``sagellm doctor`` looks at."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sagellm_core import __version__
from sagellm_core.contract.device import DeviceInfo, DeviceState, Finding, Severity
from sagellm_core.contract.errors import SageLLMError
from sagellm_core.contract.version import CONTRACT_VERSION
from sagellm_core.providers import Controls, PluginEntry, ProbeReport, discover, probe

from .intruders import eviction, intruders
from .sample_model import sample_model

#: Rejections that the user asked for.
_WANTED = frozenset({"blocked", "not_allowed", "not_requested"})


class Line(NamedTuple):
    """A finding and what it is about."""

    about: str
    finding: Finding
    #: The traceback behind it, or the end of what a plugin wrote, where there is one.
    detail: str = ""


def examine(controls: Controls) -> list[Line]:
    """Look at everything; problems are lines, never exceptions."""
    lines = [Line("python", _python()), Line("sagellm-core", _core())]
    lines += (Line("installation", finding) for finding in _intruders())
    lines += _plugins(controls)
    lines += _directories()
    # Two that claim one name are refused for one reason.
    return list(dict.fromkeys(lines))


def _python() -> Finding:
    implementation = platform.python_implementation()
    return Finding(
        severity=Severity.OK,
        message=f"{implementation} {platform.python_version()} in {sys.prefix}",
    )


def _core() -> Finding:
    return Finding(
        severity=Severity.OK, message=f"version {__version__}, plugin contract {CONTRACT_VERSION}"
    )


def _intruders() -> Iterator[Finding]:
    """Distributions that own the same import names and script as ours."""
    found = intruders()
    if found:
        yield Finding(
            severity=Severity.ERROR,
            message=f"{', '.join(found)} is installed too, with files under the same names as "
            "sagellm-core (the package sagellm_core, the command sagellm).",
            hint=eviction(found),
        )


def _plugins(controls: Controls) -> Iterator[Line]:
    try:
        entries = discover(controls)
    except SageLLMError as error:
        yield Line(
            "plugins",
            Finding(severity=Severity.ERROR, message=error.message, hint=error.hint),
        )
        return
    if not entries:
        yield Line(
            "plugins",
            Finding(
                severity=Severity.ERROR,
                message="No plugins are installed, so there is nothing to compute on.",
                hint="Each device has its own: pip install sagellm-NAME",
            ),
        )
        return
    reports = _probed(entries)
    for report in reports:
        detail = report.rejection.detail if report.rejection is not None else ""
        for finding in _report(report):
            yield Line(report.entry.name, finding, detail)
    usable = any(
        device.state is DeviceState.USABLE
        for report in reports
        if report.rejection is None
        for device in report.devices
    )
    if not usable:
        yield Line(
            "plugins",
            Finding(
                severity=Severity.ERROR,
                message="No installed plugin has a usable device.",
                hint="The lines above say why.",
            ),
        )


def _probed(entries: Sequence[PluginEntry]) -> list[ProbeReport]:
    """Asked about a model too: what they answer does not matter here, but that it is an answer."""
    try:
        with sample_model() as model:
            return probe(entries, model, diagnose=True)
    except OSError:
        return probe(entries, None, diagnose=True)


def _report(report: ProbeReport) -> Iterator[Finding]:
    if report.rejection is not None:
        wanted = report.rejection.code in _WANTED
        yield Finding(
            severity=Severity.OK if wanted else Severity.ERROR,
            message=report.rejection.message,
            hint=report.rejection.hint,
        )
        return
    for device in report.devices:
        yield _device(device)
        yield from report.findings.get(device.id, ())
    for warning in report.warnings:
        yield Finding(
            severity=Severity.WARNING,
            message=warning,
            hint=f"Report it to the maker of {report.entry.dist}.",
        )


def _device(device: DeviceInfo) -> Finding:
    severity = {
        DeviceState.USABLE: Severity.OK,
        DeviceState.ABSENT: Severity.WARNING,
        DeviceState.PRESENT_UNUSABLE: Severity.ERROR,
    }[device.state]
    facts = [device.name] if device.name else []
    if device.memory_total is not None:
        facts.append(f"{device.memory_total / 2**30:.1f} GiB")
    if device.memory_free is not None:
        facts.append(f"{device.memory_free / 2**30:.1f} GiB free")
    if device.driver:
        facts.append(f"driver {device.driver}")
    if device.reason:
        facts.append(device.reason)
    state = str(device.state).replace("_", ", ")
    return Finding(
        severity=severity,
        message=f"{device.id} is {state}: {'; '.join(facts)}"
        if facts
        else f"{device.id} is {state}",
        hint=device.hint,
    )


def _directories() -> Iterator[Line]:
    from sagellm_core.models import list_models, model_root
    from sagellm_core.session import cache_directory

    try:
        cache = cache_directory()
    except SageLLMError as error:
        yield Line(
            "cache", Finding(severity=Severity.ERROR, message=error.message, hint=error.hint)
        )
    else:
        if cache is not None and _is_writable(cache):
            yield Line("cache", Finding(severity=Severity.OK, message=f"{cache} is writable"))
        else:
            what = "there is no home directory" if cache is None else f"{cache} is not writable"
            yield Line(
                "cache",
                Finding(
                    severity=Severity.WARNING,
                    message=f"{what}: converted files are made anew at each start.",
                    hint="Set SAGELLM_CACHE_DIR to a directory that you may write to.",
                ),
            )
    try:
        root, models = model_root(), list_models()
    except SageLLMError as error:
        yield Line(
            "models", Finding(severity=Severity.ERROR, message=error.message, hint=error.hint)
        )
        return
    yield Line(
        "models", Finding(severity=Severity.OK, message=f"{len(models)} registered in {root}")
    )
    for model in models:
        if not model.path.exists():
            yield Line(
                "models",
                Finding(
                    severity=Severity.WARNING,
                    message=f"{model.model_id} is gone from {model.path}",
                    hint=f"Put it back, or run: sagellm models rm {model.model_id}",
                ),
            )


def _is_writable(directory: Path) -> bool:
    """Whether files can be made there; the directory itself may have to be made first."""
    import tempfile

    place = directory
    while not place.exists() and place != place.parent:
        place = place.parent
    if place != directory:
        return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    try:
        # Asked by doing it: root may write where the permissions say otherwise, and nobody may
        # on a file system that is mounted read-only.
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False
