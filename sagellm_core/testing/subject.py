"""The plugin under test, found and probed as core does it."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import pluggy

from sagellm_core.contract.device import DeviceInfo, DeviceState
from sagellm_core.contract.model import LoadAnswer, ModelDescription
from sagellm_core.contract.plugin import DeviceClass, PluginInfo
from sagellm_core.providers import PluginEntry, ProbeReport, Provider, probe
from sagellm_core.providers.registration import collect, enforce
from sagellm_core.providers.selection import ProviderChoice
from sagellm_core.providers.wire import WireError, load_answer, to_wire

from .declaration import Declaration
from .finding import fail, skip
from .verdicts import NO_DEVICE

#: Seconds that a probe may take here: core's own 5 s are a test by themselves.
PROBE_PATIENCE = 20.0


class Subject:
    """One plugin: its metadata (S0), what it says of itself (S1), its hooks in this process (S2).

    Stages come as they are asked for; S2 imports the plugin.
    """

    def __init__(self, declaration: Declaration, entry: PluginEntry) -> None:
        self.declaration = declaration
        self.entry = entry
        #: How long the probe of :attr:`report` took.
        self.probe_seconds = 0.0

    @cached_property
    def report(self) -> ProbeReport:
        """What it says in a probe on this machine."""
        began = time.monotonic()
        report = self.probed()
        self.probe_seconds = time.monotonic() - began
        return report

    def probed(
        self,
        model: ModelDescription | None = None,
        *,
        env: Mapping[str, str] | None = None,
        root: Path = Path("/"),
        diagnose: bool = False,
    ) -> ProbeReport:
        """Probe it as core does, but for the patience."""
        (report,) = probe(
            [self.entry], model, timeout=PROBE_PATIENCE, env=env, root=root, diagnose=diagnose
        )
        return report

    @property
    def info(self) -> PluginInfo:
        """Who it is; skips where it cannot say it, which is another test's finding."""
        if self.report.info is None:
            skip(f"The plugin cannot be probed: {self._trouble}")
        return self.report.info

    @property
    def device(self) -> DeviceInfo:
        """Its first usable device; skips without one."""
        if self.report.rejection is not None:
            skip(f"The plugin cannot be probed: {self._trouble}")
        for device in self.report.devices:
            if device.state is DeviceState.USABLE:
                return device
        return skip(f"{NO_DEVICE} {self.why_no_device}")

    @property
    def why_no_device(self) -> str:
        """What the plugin says about devices that are not usable."""
        return " ".join(f"{device.id}: {device.reason}" for device in self.report.devices)

    @cached_property
    def manager(self) -> pluggy.PluginManager:
        """Its hooks, in this process."""
        module = importlib.import_module(self.entry.module)
        manager = collect(module)
        enforce(manager, module)
        return manager

    def implements(self, hook: str) -> bool:
        """Whether it has a hook."""
        return bool(getattr(self.manager.hook, hook).get_hookimpls())

    def can_load(self, model: ModelDescription) -> LoadAnswer:
        """Its answer about a model, checked."""
        answer = self.manager.hook.sagellm_can_load(model=model, device=self.device)
        if not isinstance(answer, LoadAnswer):
            fail(f"sagellm_can_load returned {answer!r}, not a LoadAnswer.")
        try:
            return load_answer(to_wire(answer))
        except WireError as error:
            fail(f"sagellm_can_load gave a wrong answer: {error}.")

    def provider(self, model: ModelDescription) -> Provider:
        """The plugin as core holds it, for one model."""
        choice = ProviderChoice(
            entry=self.entry,
            info=self.info,
            device=self.device,
            model=model,
            load_answer=None,
            why="the conformance suite asks for it",
        )
        return Provider(choice, self.manager)

    def free_memory(self) -> int | None:
        """Free bytes on the device now; ``None`` where it is not a device of its own."""
        device = self.device
        if self.info.device_class is not DeviceClass.ACCELERATOR:
            return None  # what is free on the host changes with everything that runs there
        found = [each for each in self.probed().devices if each.id == device.id]
        return found[0].memory_free if found else None

    @property
    def _trouble(self) -> str:
        rejection = self.report.rejection
        return rejection.message if rejection is not None else "it gave no PluginInfo."
