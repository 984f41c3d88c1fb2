"""What would be chosen, and why not the others: ``sagellm plugins why``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sagellm_core.contract.errors import SageLLMError
from sagellm_core.contract.model import ModelDescription
from sagellm_core.contract.plugin import Capability

from . import refusal, survey
from .controls import Controls
from .discovery import PluginEntry, discover
from .model_lookup import Describe, default_describe, describe_locally, is_elsewhere
from .probing import PROBE_TIMEOUT, ProbeReport
from .ranking import Candidate
from .rejection import Rejection
from .selection import asked_for, explained, verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Every candidate with its rank or its rejection, and the verdict."""

    #: What the user typed; ``None``: asked without a model.
    reference: str | None
    #: ``auto``, or the name that was asked for.
    backend: str
    #: The model, where it is on disk; plugins were asked about it.
    model: ModelDescription | None
    #: Why the model is not known, though the chosen plugin would need it; the ranking then
    #: leaves it out.
    model_error: SageLLMError | None
    #: Those in the running first, best first; then the rejected ones.
    candidates: tuple[Candidate, ...]
    #: The candidate that would run; ``None`` when ``error`` says why there is none.
    chosen: Candidate | None
    #: One sentence about the choice; empty without one.
    why: str
    error: SageLLMError | None
    #: What each plugin that was started said.
    reports: tuple[ProbeReport, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain data for JSON."""
        return {
            "reference": self.reference,
            "backend": self.backend,
            "model_error": None if self.model_error is None else self.model_error.to_dict(),
            "chosen": None if self.chosen is None else self.chosen.title,
            "why": self.why,
            "error": None if self.error is None else self.error.to_dict(),
            "candidates": [_candidate(each, each == self.chosen) for each in self.candidates],
            "warnings": list(self.warnings),
        }


def explain(
    reference: str | None,
    controls: Controls,
    *,
    capability: Capability = Capability.GENERATE,
    describe: Describe | None = None,
    device_index: int | None = None,
    timeout: float = PROBE_TIMEOUT,
) -> Explanation:
    """Run the choice without loading or downloading anything, and keep every reason.

    :param reference: ``None`` ranks the providers without a model.
    :param capability: what the model is wanted for, ``GENERATE`` or ``EMBED``.
    :raises ConfigurationError: a control names a plugin that is not installed. No fault of a
        plugin or of the model raises; it is part of the explanation.
    """
    entries = discover(controls)
    model, model_error = None, None
    if reference is not None:
        model, model_error = describe_locally(reference, describe or default_describe())
    error: SageLLMError | None = None
    started = list(entries)
    left: list[Candidate] = []
    if controls.backend != "auto":
        try:
            started = [asked_for(controls.backend, entries)]
        except SageLLMError as refused:
            error, started = refused, []
        left = _left_out(entries, started, controls.backend)
    found = survey.take(
        started,
        reference,
        controls,
        model=model,
        model_error=model_error,
        device_index=device_index,
        capability=capability,
        timeout=timeout,
    )
    ranked = found.ranked()
    chosen = None
    if error is None:
        try:
            chosen = verdict(found)
        except SageLLMError as refused:
            error = refused
    if chosen is not None and model_error is not None:
        if found.description_for(chosen) is not None:
            model_error = None  # It takes any model, described or not.
        elif not is_elsewhere(model_error):
            chosen, error = None, model_error
    return Explanation(
        reference=reference,
        backend=controls.backend,
        model=model,
        model_error=model_error,
        candidates=(*ranked, *left),
        chosen=chosen,
        why=explained(found, chosen, ranked) if chosen else "",
        error=error,
        reports=found.reports,
        warnings=tuple(refusal.news(found.reports)),
    )


def _left_out(
    entries: Sequence[PluginEntry], started: Sequence[PluginEntry], backend: str
) -> list[Candidate]:
    """The plugins that were not started because another was asked for by name."""
    return [
        Candidate(
            entry=entry,
            rejection=entry.rejection
            or Rejection("not_requested", f"The backend {backend!r} was asked for by name."),
        )
        for entry in entries
        if entry not in started
    ]


def _candidate(candidate: Candidate, chosen: bool) -> dict[str, Any]:
    entry, device, rejection = candidate.entry, candidate.device, candidate.rejection
    answer = candidate.answer
    return {
        "name": entry.name,
        "dist": entry.dist,
        "version": entry.version,
        "device": None if device is None else device.id,
        "device_name": None if device is None else device.name,
        "state": None if device is None else str(device.state),
        "device_class": None if candidate.info is None else str(candidate.info.device_class),
        "memory_total": None if device is None else device.memory_total,
        "memory_free": None if device is None else device.memory_free,
        "verdict": None if answer is None else str(answer.verdict),
        "bytes_needed": None if answer is None else answer.bytes_needed,
        "rank": candidate.rank,
        "chosen": chosen,
        "note": candidate.note,
        "rejection": None
        if rejection is None
        else {"code": rejection.code, "message": rejection.message, "hint": rejection.hint},
    }
