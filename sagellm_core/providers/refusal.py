"""The typed errors in which a search for a provider ends."""

from __future__ import annotations

from collections.abc import Sequence

from sagellm_core.contract.device import DeviceInfo
from sagellm_core.contract.errors import (
    BrokenProviderError,
    ConfigurationError,
    DeviceUnavailableError,
    DuplicateProviderError,
    IncompatibleProviderError,
    InsufficientMemoryError,
    NoProviderError,
    SageLLMError,
    UnknownProviderError,
    UnsupportedModelError,
    UnsupportedOptionError,
)
from sagellm_core.contract.plugin import Capability

from .discovery import PluginEntry
from .naming import listed, nearest
from .probing import ProbeReport
from .ranking import Candidate
from .rejection import Rejection

_TYPES: dict[str, type[SageLLMError]] = {
    "blocked": ConfigurationError,
    "duplicate": DuplicateProviderError,
    "group_major": IncompatibleProviderError,
    "core_requirement": IncompatibleProviderError,
    "contract_major": IncompatibleProviderError,
    "contract_minor": IncompatibleProviderError,
    "no_device": DeviceUnavailableError,
    "present_unusable": DeviceUnavailableError,
    "other_device": DeviceUnavailableError,
    "cannot_load": UnsupportedModelError,
    "no_capability": UnsupportedOptionError,
    "model_capability": UnsupportedModelError,
}
#: The user's own wishes, which are no news to the user.
_WISHES = frozenset({"blocked", "not_allowed", "not_requested"})


class ChildTraceback(Exception):
    """What a plugin's child process left on its stderr: the root cause of an error here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def refusal(rejection: Rejection) -> SageLLMError:
    """A rejection as the error of a user who asked for that very plugin."""
    kind = _TYPES.get(rejection.code, BrokenProviderError)
    return _caused(kind(rejection.message, hint=rejection.hint), rejection.detail)


def unknown(name: str, entries: Sequence[PluginEntry]) -> UnknownProviderError:
    """Nobody has the name that was asked for."""
    installed = {entry.name for entry in entries}
    near = nearest(name, installed)
    if near:
        hint = f"Did you mean {near!r}?"
    else:
        hint = f"If there is such a provider: pip install sagellm-{name}"
    return UnknownProviderError(
        f"No provider named {name!r} is installed; installed: {listed(installed)}.", hint=hint
    )


def nothing_for_name(ranked: Sequence[Candidate], device_index: int | None) -> SageLLMError:
    """Why the plugin that was asked for by name, probed in full, cannot run the model."""
    if device_index is not None and all(
        each.rejection is not None and each.rejection.code in ("other_device", "no_device")
        for each in ranked
    ):
        ids = [each.device.id for each in ranked if each.device and _code(each) == "other_device"]
        if ids:
            return DeviceUnavailableError(
                f"{ranked[0].entry.title} has no device with index {device_index}.",
                hint=f"Its devices are {', '.join(ids)}.",
            )
    # What is nearest to having worked says most: a usable device comes before a present one.
    order = ("cannot_load", "present_unusable", "other_device", "no_device")
    first = min(ranked, key=lambda each: order.index(_code(each)) if _code(each) in order else -1)
    assert first.rejection is not None, "a candidate that is not in the running has a rejection"
    if first.rejection.code == "cannot_load" and _too_large(first):
        return InsufficientMemoryError(first.rejection.message, hint="Use a smaller model.")
    return refusal(first.rejection)


def nothing_at_all(
    ranked: Sequence[Candidate],
    reference: str | None,
    capability: Capability = Capability.GENERATE,
) -> NoProviderError:
    """No plugin can run the model, each for its own reason."""
    if not ranked:
        return NoProviderError(
            "No sagellm provider is installed.",
            hint="Install the one for your device, as in `pip install sagellm-NAME`.",
        )
    reasons = [each.rejection for each in ranked if each.rejection is not None]
    what = "embed with" if capability is Capability.EMBED else "run"
    what += " a model" if reference is None else f" {reference!r}"
    sentences = " ".join(dict.fromkeys(reason.message for reason in reasons))
    error = NoProviderError(
        f"No installed provider can {what} here. {sentences}", hint=_hints(ranked)
    )
    detail = next((reason.detail for reason in reasons if reason.detail), "")
    _caused(error, detail)
    return error


def broken_with_hardware(report: ProbeReport, winner: Candidate) -> SageLLMError:
    """A plugin is broken although its hardware is present; something lesser could run."""
    name = report.entry.name
    way_out = (
        f"Mend it, or accept {winner.title} instead: --allow-fallback"
        f" (allow_fallback=True), SAGELLM_DISABLE_PLUGINS={name}, or"
        f" --backend {winner.entry.name}."
    )
    if report.rejection is not None:
        devices = listed(_present(report.devices))
        rejection = report.rejection
        message = f"{rejection.message} Its hardware is present: {devices}."
        hint = f"{rejection.hint}\n{way_out}".strip()
        return refusal(rejection._replace(message=message, hint=hint))
    device = next(each for each in report.devices if each.state == "present_unusable")
    reason = device.reason.strip().rstrip(".")
    return DeviceUnavailableError(
        f"{report.entry.title} cannot use {device.id}, which is present: {reason}.",
        hint=f"{device.hint}\n{way_out}".strip(),
    )


def news(reports: Sequence[ProbeReport]) -> list[str]:
    """Sentences about plugins that are broken or misbehaved, though nothing depends on them."""
    sentences = []
    for report in reports:
        if report.rejection is not None and report.rejection.code not in _WISHES:
            sentences.append(report.rejection.message)
        sentences += report.warnings
    # Two that claim one name are refused for one reason.
    return list(dict.fromkeys(sentences))


def _hints(rejected: Sequence[Candidate]) -> str:
    """What to do about each plugin, in a line that begins with its name.

    Plugins with the same hint share a line; where there is one plugin only, it goes unnamed. A
    hint may end in a command: a line of its own is what can be copied.
    """
    named: dict[str, dict[str, None]] = {}
    for each in rejected:
        if each.rejection is not None and each.rejection.hint:
            hint = " ".join(each.rejection.hint.split())
            named.setdefault(hint, {})[each.entry.name] = None
    if len({each.entry.name for each in rejected}) == 1:
        return "\n".join(named)
    return "\n".join(f"{', '.join(names)}: {hint}" for hint, names in named.items())


def _code(candidate: Candidate) -> str:
    return candidate.rejection.code if candidate.rejection else ""


def _present(devices: Sequence[DeviceInfo]) -> list[str]:
    return [device.id for device in devices if device.state != "absent"]


def _too_large(candidate: Candidate) -> bool:
    answer, device = candidate.answer, candidate.device
    if answer is None or device is None or answer.bytes_needed is None:
        return False
    limits = [size for size in (device.memory_free, device.memory_total) if size is not None]
    return bool(limits) and answer.bytes_needed > min(limits)


def _caused(error: SageLLMError, detail: str) -> SageLLMError:
    if detail:
        error.__cause__ = ChildTraceback(detail)
    return error
