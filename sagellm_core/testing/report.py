"""What came of a whole run, as data."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sagellm_core import __version__
from sagellm_core.contract.device import DeviceInfo, DeviceState
from sagellm_core.contract.version import CONTRACT_VERSION
from sagellm_core.providers import PluginEntry, ProbeReport

from .groups import GROUPS, OWN, VERDICTS
from .result import CheckResult, Outcome
from .verdicts import NO_DEVICE

#: Version of the file's format.
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One plugin, on one machine, with one core."""

    plugin: str
    dist: str
    version: str
    vendor: str
    device_class: str
    #: The contract that the plugin was written for.
    contract: str
    core: str
    core_contract: str
    #: Id, name, state, driver and memory of the device that was used, or of the first one.
    device: dict[str, Any]
    python: str
    platform: str
    #: Groups that were asked for; all of them for a whole report.
    groups: tuple[str, ...]
    results: tuple[CheckResult, ...]
    #: Sentences about expected failures that passed.
    stale: tuple[str, ...] = ()
    #: The expression that chose tests, as pytest's ``-k`` has it; empty for all of them.
    select: str = ""
    #: What the declaration hands to ``sagellm_load_model``.
    provider_options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def made(
        cls,
        entry: PluginEntry,
        probed: ProbeReport,
        results: Iterable[CheckResult],
        groups: Sequence[str],
        stale: Sequence[str],
        *,
        select: str = "",
        provider_options: Mapping[str, Any],
    ) -> Report:
        """The report of a run here and now."""
        info = probed.info
        order = (*GROUPS, OWN, VERDICTS)
        return cls(
            plugin=entry.name,
            dist=entry.dist,
            version=entry.version,
            vendor=info.vendor if info else "",
            device_class=str(info.device_class) if info else "",
            contract=info.contract if info else "",
            core=__version__,
            core_contract=CONTRACT_VERSION,
            device=_device(probed.devices),
            python=platform.python_version(),
            platform=f"{platform.system()} {platform.machine()}",
            groups=tuple(group for group in groups if group != OWN),
            results=tuple(sorted(results, key=lambda each: order.index(each.group))),
            stale=tuple(stale),
            select=select,
            provider_options=provider_options,
        )

    @property
    def conforms(self) -> bool:
        """Whether tests were run, and none failed that was not expected to."""
        return not self.why_nothing and not self.of(Outcome.FAILED)

    @property
    def verdict(self) -> str:
        """In words."""
        if self.why_nothing:
            return f"no test was run: {self.why_nothing}"
        return "conforms" if self.conforms else "does not conform"

    @property
    def reach(self) -> str:
        """What limits a good verdict, to follow it. A failure is one whatever was left out."""
        return ", as far as it was run" if self.conforms and not self.complete else ""

    @property
    def complete(self) -> bool:
        """Whether every group was run, all of its tests, and every capability was judged."""
        return not (self.select or self.not_run or self.of(Outcome.SKIPPED, group=VERDICTS))

    @property
    def not_run(self) -> tuple[str, ...]:
        """Groups that nothing was run of: they were not asked for, or there is no device."""
        return tuple(group for group in GROUPS if self._is_left_out(group))

    @property
    def why_nothing(self) -> str:
        """Why no test at all was run, as a clause; empty where one was."""
        tests = [each for each in self.results if each.group != VERDICTS]
        if any(each.outcome is not Outcome.SKIPPED for each in tests):
            return ""
        if tests:
            return "all that were chosen were skipped"
        flags = [] if set(self.groups) >= set(GROUPS) else [f"--group {g}" for g in self.groups]
        flags += [f"-k {self.select!r}"] if self.select else []
        return f"{' '.join(flags)} chose none" if flags else "there is none"

    def _is_left_out(self, group: str) -> bool:
        results = [each for each in self.results if each.group == group]
        if any(each.outcome is not Outcome.SKIPPED for each in results):
            return False
        # Where all were skipped for other reasons, the group does not concern the plugin.
        return not results or any(each.reason.startswith(NO_DEVICE) for each in results)

    def of(self, *outcomes: Outcome, group: str | None = None) -> list[CheckResult]:
        """Results with one of these outcomes, of all groups or of one."""
        return [
            each
            for each in self.results
            if each.outcome in outcomes and (group is None or each.group == group)
        ]

    @property
    def seconds(self) -> float:
        """Time of all tests together."""
        return sum(each.seconds for each in self.results)

    def to_dict(self) -> dict[str, Any]:
        """``conformance.json``."""
        return {
            "format": FORMAT,
            "plugin": self.plugin,
            "dist": self.dist,
            "version": self.version,
            "vendor": self.vendor,
            "device_class": self.device_class,
            "contract": self.contract,
            "core": self.core,
            "core_contract": self.core_contract,
            "device": self.device,
            "python": self.python,
            "platform": self.platform,
            "groups": list(self.groups),
            "select": self.select,
            "provider_options": dict(self.provider_options),
            "conforms": self.conforms,
            "complete": self.complete,
            "not_run": list(self.not_run),
            "verdict": f"{self.verdict}{self.reach}",
            "stale": list(self.stale),
            "results": [each.to_dict() for each in self.results],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Report:
        """What :meth:`to_dict` gave.

        :raises ValueError: it is of another format.
        """
        if data.get("format") != FORMAT:
            raise ValueError(f"a conformance report of format {data.get('format')!r}, not {FORMAT}")
        own = {each.name for each in fields(cls)}
        kept = {name: value for name, value in data.items() if name in own}
        kept["groups"] = tuple(kept["groups"])
        kept["stale"] = tuple(kept["stale"])
        kept["results"] = tuple(CheckResult.from_dict(each) for each in kept["results"])
        return cls(**kept)


def _device(devices: Sequence[DeviceInfo]) -> dict[str, Any]:
    usable = [each for each in devices if each.state is DeviceState.USABLE]
    for device in (*usable, *devices):
        return {
            "id": device.id,
            "name": device.name,
            "state": str(device.state),
            "reason": device.reason,
            "driver": device.driver,
            "memory_total": device.memory_total,
        }
    return {}
