"""What came of a whole run, as data."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sagellm_core import __version__
from sagellm_core.contract.device import DeviceInfo, DeviceState
from sagellm_core.contract.version import CONTRACT_VERSION
from sagellm_core.providers import PluginEntry, ProbeReport

from .groups import GROUPS, OWN, VERDICTS
from .result import CheckResult, Outcome

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

    @classmethod
    def made(
        cls,
        entry: PluginEntry,
        probed: ProbeReport,
        results: Iterable[CheckResult],
        groups: Sequence[str],
        stale: Sequence[str],
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
        )

    @property
    def conforms(self) -> bool:
        """Whether no test failed that was not expected to."""
        return not self.of(Outcome.FAILED)

    @property
    def verdict(self) -> str:
        """In words."""
        return "conforms" if self.conforms else "does not conform"

    @property
    def reach(self) -> str:
        """What limits the verdict, to follow it: a capability that nothing was run for."""
        return ", as far as it was run" if self.of(Outcome.SKIPPED, group=VERDICTS) else ""

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
            "conforms": self.conforms,
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
        kept = {name: value for name, value in data.items() if name not in ("format", "conforms")}
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
