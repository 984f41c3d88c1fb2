"""Which provider runs the model: discovery, description, probes, ranking, and the verdict."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sagellm_core.contract.device import DeviceInfo
from sagellm_core.contract.model import LoadAnswer, ModelDescription
from sagellm_core.contract.plugin import Capability, PluginInfo

from . import refusal, survey
from .controls import Controls
from .discovery import PluginEntry, discover
from .model_lookup import Describe, default_describe, describe_locally, is_elsewhere
from .probing import PROBE_TIMEOUT
from .ranking import Candidate, difference, overlaps
from .survey import Survey

_log = logging.getLogger("sagellm")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChoice:
    """The plugin, device and model description to load, and why these."""

    entry: PluginEntry
    info: PluginInfo
    device: DeviceInfo
    model: ModelDescription
    #: What the plugin said about the model.
    load_answer: LoadAnswer | None
    #: One sentence.
    why: str
    #: The other candidates: those in the running in order, then the rejected ones.
    others: tuple[Candidate, ...] = ()
    #: Sentences about plugins that are broken or misbehaved, though the choice stands.
    warnings: tuple[str, ...] = ()


def choose_provider(
    reference: str,
    controls: Controls,
    *,
    capability: Capability = Capability.GENERATE,
    describe: Describe | None = None,
    device_index: int | None = None,
    timeout: float = PROBE_TIMEOUT,
) -> ProviderChoice:
    """Choose who runs the model.

    A named backend is the only plugin that is started. A model that is not on disk is
    downloaded only once it is clear that something could run it.

    :param capability: what the model is wanted for, ``GENERATE`` or ``EMBED``.
    :param describe: :func:`sagellm_core.models.describe`, or one that stands in for it.
    :param device_index: which of the plugin's devices; ``None``: the best one.
    :param timeout: seconds for one round of probes.
    :raises UnknownProviderError: no installed plugin has the backend's name.
    :raises ConfigurationError: a control names an unknown plugin, or blocks the backend.
    :raises DuplicateProviderError: two distributions have the backend's name.
    :raises IncompatibleProviderError: a version gate refuses the backend.
    :raises DeviceUnavailableError: the backend, or a plugin that would come first, has no
        usable device.
    :raises BrokenProviderError: the same, because the plugin fails; ``__cause__`` has its
        traceback.
    :raises UnsupportedOptionError: the backend does not do what is wanted.
    :raises UnsupportedModelError: the backend does not do it with this model.
    :raises NoProviderError: ``auto`` finds nothing that can run the model.
    :raises ModelError: the model is missing, unsafe, unsupported or too large.
    """
    entries = discover(controls)
    candidates = _startable(entries, controls)
    describe = describe or default_describe()
    model, error = describe_locally(reference, describe)
    if error is not None and controls.backend == "auto" and not is_elsewhere(error):
        raise error
    found = survey.take(
        candidates,
        reference,
        controls,
        model=model,
        model_error=error,
        device_index=device_index,
        capability=capability,
        timeout=timeout,
    )
    winner = verdict(found)
    if found.description_for(winner) is None:
        assert error is not None, "a model without a description has an error"
        if not is_elsewhere(error):
            raise error
        found = found.probed_again(describe(reference, allow_download=True), timeout)
        winner = verdict(found)
    choice = make_choice(found, winner)
    for sentence in choice.warnings:
        _log.warning("%s", sentence)
    return choice


def verdict(found: Survey) -> Candidate:
    """The best candidate.

    :raises SageLLMError: there is none, or a better one is broken.
    """
    ranked = found.ranked()
    if not ranked or ranked[0].rejection is not None:
        if found.by_name:
            raise refusal.nothing_for_name(ranked, found.device_index)
        raise refusal.nothing_at_all(ranked, found.reference, found.capability)
    winner = ranked[0]
    if not found.by_name and not found.controls.allow_fallback:
        for report in found.broken_with_hardware(winner):
            raise refusal.broken_with_hardware(report, winner)
    return winner


def make_choice(found: Survey, winner: Candidate) -> ProviderChoice:
    """The verdict with its reasons."""
    model = found.description_for(winner)
    assert winner.info is not None, "a winner has an info"
    assert winner.device is not None, "a winner has a device"
    assert model is not None, "a winner was asked about a model"
    ranked = found.ranked()
    return ProviderChoice(
        entry=winner.entry,
        info=winner.info,
        device=winner.device,
        model=model,
        load_answer=winner.answer,
        why=explained(found, winner, ranked),
        others=tuple(each for each in ranked if each != winner),
        warnings=tuple(refusal.news(found.reports)),
    )


def explained(found: Survey, winner: Candidate, ranked: Sequence[Candidate]) -> str:
    """Why the winner won, in one sentence, and what it was preferred to."""
    running = [each for each in ranked if each.rejection is None and each != winner]
    others = [each for each in running if each.entry.name != winner.entry.name]
    if found.by_name:
        sentence = f"{winner.title} was asked for by name."
    elif others:
        sentence = difference(winner, others[0], found.controls)
    else:
        can = "embed with" if found.capability is Capability.EMBED else "run"
        sentence = f"{winner.title} is the only provider here that can {can} the model."
    parts = [sentence, *overlaps(winner, running)]
    if not found.by_name:
        for report in found.broken_with_hardware(winner):
            parts.append(f"{report.entry.title} was passed over: it is broken.")
    return " ".join(parts)


def _startable(entries: Sequence[PluginEntry], controls: Controls) -> list[PluginEntry]:
    """Those to probe: all, with those rejected already; or the one asked for by name."""
    if controls.backend == "auto":
        return list(entries)
    return [asked_for(controls.backend, entries)]


def asked_for(backend: str, entries: Sequence[PluginEntry]) -> PluginEntry:
    """The plugin that was asked for by name.

    :raises SageLLMError: there is none, or its metadata or a control forbids it.
    """
    same = [entry for entry in entries if entry.name == backend]
    allowed = [entry for entry in same if entry.rejection is None]
    if allowed:
        return allowed[0]
    for entry in same:
        if entry.rejection is not None:
            raise refusal.refusal(entry.rejection)
    raise refusal.unknown(backend, entries)
