"""The order among plugins and their devices: lexicographic, no weights, no sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sagellm_core.contract.device import DeviceInfo, DeviceState
from sagellm_core.contract.model import LoadAnswer, LoadVerdict
from sagellm_core.contract.plugin import Capability, DeviceClass, PluginInfo

from .capability import capability_gate
from .controls import Controls
from .discovery import PluginEntry
from .probing import ProbeReport
from .rejection import Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One device of one plugin; or a plugin that got no further, with neither."""

    entry: PluginEntry
    info: PluginInfo | None = None
    device: DeviceInfo | None = None
    #: ``None`` where the plugin was not asked, because the model is not known yet.
    answer: LoadAnswer | None = None
    #: Why it is out of the running; ``None`` when it is in.
    rejection: Rejection | None = None
    #: 1 is the best; ``None`` when it is out of the running.
    rank: int | None = None
    #: In the running: why it stands behind the one before it, and which other plugins claim the
    #: same physical device.
    note: str = ""

    @property
    def title(self) -> str:
        """The plugin and its device, for sentences."""
        return f"{self.entry.name} on {self.device.id}" if self.device else self.entry.name


def candidates(
    reports: Iterable[ProbeReport],
    *,
    by_name: bool,
    capability: Capability = Capability.GENERATE,
) -> list[Candidate]:
    """Every device of every plugin, rejected or not.

    :param by_name: the plugin was asked for by name, so that a simulation may run.
    :param capability: what is wanted of the model, ``GENERATE`` or ``EMBED``.
    """
    found = []
    for report in reports:
        if report.rejection is not None or not report.devices:
            found.append(
                Candidate(entry=report.entry, info=report.info, rejection=report.rejection)
            )
            continue
        for device in report.devices:
            answer = report.answers.get(device.id)
            found.append(
                Candidate(
                    entry=report.entry,
                    info=report.info,
                    device=device,
                    answer=answer,
                    rejection=_rejection(report, device, answer, by_name, capability),
                )
            )
    return found


def rank(found: Sequence[Candidate], controls: Controls) -> list[Candidate]:
    """Order the candidates, those in the running first, best first.

    The keys, each of which counts only where all before it are equal: the answer for the model
    (yes before unknown), accelerator before CPU, the user's order, fits the device's free memory
    (unknown after known), the plugin's priority, free memory, name. Being asked for by name and
    having a usable device come before these: without them a candidate is not in the running.
    """
    running = sorted(
        (each for each in found if each.rejection is None),
        key=lambda each: _key(each, controls),
    )
    rejected = sorted((each for each in found if each.rejection is not None), key=_identity)
    ranked = []
    for number, candidate in enumerate(running, start=1):
        ahead = running[number - 2] if number > 1 else None
        notes = [difference(ahead, candidate, controls)] if ahead else []
        notes += overlaps(candidate, running)
        ranked.append(replace(candidate, rank=number, note=" ".join(notes)))
    return ranked + rejected


def difference(better: Candidate, other: Candidate, controls: Controls) -> str:
    """Why ``better`` stands before ``other``, in one sentence."""
    mine, theirs = _key(better, controls), _key(other, controls)
    first = next(field for field, a, b in zip(_Key._fields, mine, theirs, strict=True) if a != b)
    return f"{better.title} is before {other.title}: {_explained(first, better, other)}."


def overlaps(candidate: Candidate, running: Iterable[Candidate]) -> list[str]:
    """Sentences about other plugins that claim the candidate's physical device."""
    physical = candidate.device.physical_id if candidate.device else ""
    return [
        f"{other.title} claims the same physical device ({physical})."
        for other in running
        if physical
        and other.device is not None
        and other.device.physical_id == physical
        and other.entry.name != candidate.entry.name
    ]


def class_rank(info: PluginInfo | None) -> int:
    """Accelerators are 0, CPUs 1, simulations 2."""
    order = (DeviceClass.ACCELERATOR, DeviceClass.CPU, DeviceClass.SIMULATED)
    return len(order) if info is None else order.index(info.device_class)


def _rejection(
    report: ProbeReport,
    device: DeviceInfo,
    answer: LoadAnswer | None,
    by_name: bool,
    capability: Capability,
) -> Rejection | None:
    title = report.entry.title
    assert report.info is not None, "a report with devices has an info"
    # Mending its device would not help: so what it never does comes before what it lacks here.
    undeclared = capability_gate(title, report.info, None, capability)
    if undeclared is not None:
        return undeclared
    if device.state is DeviceState.ABSENT:
        return Rejection(
            "no_device", f"{title} finds no device: {_clause(device.reason)}.", device.hint
        )
    if device.state is DeviceState.PRESENT_UNUSABLE:
        return Rejection(
            "present_unusable",
            f"{title} cannot use {device.id}, which is present: {_clause(device.reason)}.",
            device.hint,
        )
    if report.info.device_class is DeviceClass.SIMULATED and not by_name:
        return Rejection(
            "simulated",
            f"{title} computes nothing real, so it is never chosen of itself.",
            f"Ask for the backend {report.entry.name!r} by name to use it.",
        )
    if answer is not None and answer.verdict is LoadVerdict.NO:
        return Rejection(
            "cannot_load",
            f"{title} cannot load the model on {device.id}: {_clause(answer.reason)}.",
            answer.hint or "Use another model, or a provider that covers this one.",
        )
    return capability_gate(title, report.info, answer, capability)


def _clause(sentence: str) -> str:
    return sentence.strip().rstrip(".")


class _Key(NamedTuple):
    """Smaller is better; a field counts only where all before it are equal."""

    answer: int
    device_class: int
    order: int
    fits: int
    priority: int
    memory: int
    name: tuple[object, ...]


def _key(candidate: Candidate, controls: Controls) -> _Key:
    assert candidate.info is not None, "a candidate in the running has an info"
    assert candidate.device is not None, "a candidate in the running has a device"
    answer, free = candidate.answer, candidate.device.memory_free
    return _Key(
        answer=int(answer is None or answer.verdict is not LoadVerdict.YES),
        device_class=class_rank(candidate.info),
        order=_wish(candidate, controls),
        fits=_fit(candidate),
        priority=-candidate.info.priority,
        memory=1 if free is None else -free,
        name=_identity(candidate),
    )


def _wish(candidate: Candidate, controls: Controls) -> int:
    """Position in ``SAGELLM_DEVICE_ORDER``; what is not in it comes after."""
    assert candidate.device is not None
    name, device = candidate.entry.name, candidate.device.id
    # A device whose id begins with the plugin's name, as in gpu:1, need not repeat it.
    names = (name, f"{name}:{device}", device if device.startswith(f"{name}:") else name)
    for position, wish in enumerate(controls.device_order):
        if wish in names:
            return position
    return len(controls.device_order)


def _fit(candidate: Candidate) -> int:
    """0: known to fit the device's free memory; 1: unknown; 2: known not to."""
    assert candidate.device is not None
    needed = None if candidate.answer is None else candidate.answer.bytes_needed
    free = candidate.device.memory_free
    if needed is None or free is None:
        return 1
    return 0 if needed <= free else 2


def _identity(candidate: Candidate) -> tuple[object, ...]:
    """A total order without meaning; ``gpu:10`` comes after ``gpu:9``."""
    entry = candidate.entry
    device = candidate.device.id if candidate.device else ""
    parts = tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"([0-9]+)", device)
    )
    return (entry.name, parts, device, entry.dist, entry.version, entry.module)


def _explained(field: str, better: Candidate, other: Candidate) -> str:
    assert better.info is not None
    assert other.info is not None
    assert better.device is not None
    assert other.device is not None
    match field:
        case "answer":
            reason = other.answer.reason if other.answer else "the model is not known yet"
            return f"the other cannot tell whether it can load the model ({_clause(reason)})"
        case "device_class":
            return f"{better.info.device_class} before {other.info.device_class}"
        case "order":
            return "the order in SAGELLM_DEVICE_ORDER"
        case "fits":
            needed = other.answer.bytes_needed if other.answer else None
            if needed is not None and other.device.memory_free is not None:
                return f"the other needs {needed} bytes and has {other.device.memory_free} free"
            return "it is known to fit in memory" if _fit(better) == 0 else "it may fit in memory"
        case "priority":
            return f"priority {better.info.priority} before {other.info.priority}"
        case "memory":
            free = other.device.memory_free
            theirs = "an unknown number" if free is None else str(free)
            return f"{better.device.memory_free} bytes free before {theirs}"
        case _:
            return "all else being equal, by name"
