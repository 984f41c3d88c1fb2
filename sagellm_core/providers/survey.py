"""One look at everything that could run a model: entries, probes, and their ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sagellm_core.contract.device import DeviceInfo, DeviceState
from sagellm_core.contract.errors import SageLLMError
from sagellm_core.contract.model import ModelDescription, ModelFormat
from sagellm_core.contract.plugin import Capability, DeviceClass

from .capability import is_declared
from .controls import Controls
from .discovery import PluginEntry
from .probing import ProbeReport, probe
from .ranking import Candidate, candidates, class_rank, rank
from .rejection import Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is known after a round of probes."""

    controls: Controls
    reference: str | None
    #: ``None`` while the model is not described.
    model: ModelDescription | None
    #: Why it is not, where describing it was tried.
    model_error: SageLLMError | None
    reports: tuple[ProbeReport, ...]
    device_index: int | None = None
    #: What is wanted of the model: ``GENERATE`` or ``EMBED``.
    capability: Capability = Capability.GENERATE

    @property
    def by_name(self) -> bool:
        """Whether one plugin was asked for by name."""
        return self.controls.backend != "auto"

    def ranked(self) -> list[Candidate]:
        """Every candidate, those in the running first, best first."""
        found = candidates(self.reports, by_name=self.by_name, capability=self.capability)
        return rank([self._with_index(each) for each in found], self.controls)

    def description_for(self, winner: Candidate) -> ModelDescription | None:
        """What to hand to the winner; ``None``: the model must be described first."""
        if takes_any_model(winner):
            return ModelDescription(reference=self.reference or "", format=ModelFormat.UNRESOLVED)
        return self.model

    def broken_with_hardware(self, winner: Candidate) -> list[ProbeReport]:
        """Reports of plugins that are broken although their hardware is present.

        Only those that could have stood before the winner: a CPU provider that is broken takes
        nothing from a user whose accelerator works.
        """
        return [
            report
            for report in self.reports
            if report.info is not None
            and report.info.device_class is not DeviceClass.SIMULATED
            and class_rank(report.info) <= class_rank(winner.info)
            and is_declared(report.info, self.capability)
            and report.entry.name != winner.entry.name
            and _hardware_wasted(report)
        ]

    def probed_again(self, model: ModelDescription, timeout: float) -> Survey:
        """The survey after the still eligible plugins were asked about ``model``."""
        eligible = {each.entry for each in self.ranked() if each.rejection is None and each.device}
        reports = {report.entry: report for report in self.reports}
        again = probe([entry for entry in reports if entry in eligible], model, timeout=timeout)
        reports.update((report.entry, report) for report in again)
        return replace(self, model=model, model_error=None, reports=tuple(reports.values()))

    def _with_index(self, candidate: Candidate) -> Candidate:
        """Reject a device that is not the one with the index asked for."""
        if self.device_index is None or candidate.device is None or candidate.rejection:
            return candidate
        report = next(each for each in self.reports if each.entry == candidate.entry)
        if indexed(report.devices, self.device_index) == candidate.device:
            return candidate
        return replace(
            candidate,
            rejection=Rejection(
                "other_device",
                f"The device with index {self.device_index} was asked for, and"
                f" {candidate.device.id} is another.",
            ),
        )


def take(
    entries: Sequence[PluginEntry],
    reference: str | None,
    controls: Controls,
    *,
    model: ModelDescription | None,
    model_error: SageLLMError | None,
    device_index: int | None,
    capability: Capability,
    timeout: float,
) -> Survey:
    """Probe the entries, with the description if there is one."""
    shown = model
    if shown is None and reference is not None:
        shown = ModelDescription(reference=reference, format=ModelFormat.UNRESOLVED)
    return Survey(
        controls=controls,
        reference=reference,
        model=model,
        model_error=model_error,
        reports=tuple(probe(entries, shown, timeout=timeout)),
        device_index=device_index,
        capability=capability,
    )


def takes_any_model(candidate: Candidate) -> bool:
    """Whether the plugin needs no model files."""
    return candidate.info is not None and Capability.ANY_MODEL in candidate.info.capabilities


def indexed(devices: Sequence[DeviceInfo], index: int) -> DeviceInfo | None:
    """The device with an index: by the number in ids like ``gpu:1``, else by position."""
    present = [device for device in devices if device.state is not DeviceState.ABSENT]
    numbers = [device.id.rpartition(":")[2] for device in present if ":" in device.id]
    if present and len(numbers) == len(present) and all(each.isdecimal() for each in numbers):
        return next((device for device in present if device.id.endswith(f":{index}")), None)
    return present[index] if 0 <= index < len(present) else None


def _hardware_wasted(report: ProbeReport) -> bool:
    states = {device.state for device in report.devices}
    if report.rejection is not None:
        return bool(states - {DeviceState.ABSENT})
    return DeviceState.PRESENT_UNUSABLE in states and DeviceState.USABLE not in states
