"""Group ``detection``: finding devices, again and again, where the plugin is told to look."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract.device import DeviceState
from sagellm_core.contract.plugin import DeviceClass
from sagellm_core.providers.probing import PROBE_TIMEOUT
from sagellm_core.testing.errand import Errand
from sagellm_core.testing.errands.detection import CODE
from sagellm_core.testing.finding import fail, require, skip
from sagellm_core.testing.marks import group
from sagellm_core.testing.module_state import ModuleState
from sagellm_core.testing.subject import Subject

#: Seconds that one detection may take.
TIME_LIMIT = 5.0
#: Seconds that an errand of several may take.
_PATIENCE = 30.0
_TIMES = 10
#: Fields that may differ between two looks at one device.
_VOLATILE = ("memory_free",)

Devices = list[dict[str, Any]]
Detect = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def detect(subject: Subject) -> Detect:
    """Calls ``sagellm_detect_devices`` in a fresh process, once for each of ``calls``."""
    if subject.report.rejection is not None:
        skip(f"The plugin cannot be probed: {subject.report.rejection.message}")

    def run(*calls: dict[str, Any], fork: bool = False, watch: bool = False) -> dict[str, Any]:
        hidden = set(subject.declaration.visibility)
        # The machine's own setting of these variables is none of the tests' business.
        plain = {name: value for name, value in os.environ.items() if name not in hidden}
        full = [{"env": plain, "root": "/", "environ": {}, **call} for call in calls]
        for call in full:
            call["env"] = {**plain, **call["env"]}
        request = {"module": subject.entry.module, "calls": full, "fork": fork, "watch": watch}
        found: dict[str, Any] = Errand(CODE, request, plain).run("Detecting devices", _PATIENCE)
        return found

    return run


@pytest.fixture
def trees(conformance_state: ModuleState, tmp_path: Path) -> dict[str, Path]:
    """The declaration's made trees, by name."""
    made = {}
    for number, (name, make) in enumerate(conformance_state.declaration.trees.items()):
        made[name] = tmp_path / f"tree{number}"
        made[name].mkdir()
        make(made[name])
    return made


@group("detection")
class TestDetection:
    """``sagellm_detect_devices`` and ``sagellm_diagnose``."""

    def test_core_can_probe_it(self, subject: Subject) -> None:
        """Stage S1 hears who it is and what it has, in the contract's types."""
        rejection = subject.report.rejection
        if rejection is not None:
            detail = f"\n{rejection.detail}" if rejection.detail else ""
            fail(f"{rejection.message} {rejection.hint}{detail}")
        require(
            subject.probe_seconds < PROBE_TIMEOUT,
            f"The probe took {subject.probe_seconds:.1f} s, and core waits {PROBE_TIMEOUT:g} s.",
        )

    def test_a_device_is_usable(self, subject: Subject, conformance_state: ModuleState) -> None:
        """There is something to run the other groups on."""
        report = subject.report
        if any(device.state is DeviceState.USABLE for device in report.devices):
            return
        if not conformance_state.declaration.device_required:
            skip(f"No device is usable here: {subject.why_no_device}")
        if report.rejection is not None:
            skip(f"The plugin cannot be probed: {report.rejection.message}")
        fail(
            f"No device is usable here: {subject.why_no_device} The declaration says that one is "
            "required."
        )

    def test_ten_times_the_same(self, detect: Detect) -> None:
        """Detection is idempotent; only free memory may differ."""
        found = detect(*[{}] * _TIMES)["devices"]
        for number, devices in enumerate(found[1:], start=2):
            require(
                _stable(devices) == _stable(found[0]),
                f"Detection {number} of {_TIMES} differs from the first: "
                f"{_difference(found[0], devices)}.",
            )

    def test_it_is_quick(self, detect: Detect) -> None:
        """The first detection of a process takes less than 5 s."""
        (seconds,) = detect({})["seconds"]
        require(
            seconds < TIME_LIMIT,
            f"The detection took {seconds:.1f} s, and {TIME_LIMIT:g} s are allowed.",
        )

    def test_a_fork_finds_the_same(self, detect: Detect) -> None:
        """A forked child of a process that has detected can detect too."""
        answer = detect({}, fork=True)
        forked = answer["forked"]
        if isinstance(forked, str):
            fail(f"Detection in a forked child failed: {forked}.")
        require(
            _stable(forked) == _stable(answer["devices"][0]),
            f"A forked child finds other devices: {_difference(answer['devices'][0], forked)}.",
        )

    def test_an_empty_tree_has_no_accelerator(
        self, subject: Subject, detect: Detect, tmp_path: Path
    ) -> None:
        """Below a ``root`` without a single file there is no hardware."""
        (devices,) = detect({"root": str(tmp_path)})["devices"]
        require(devices, "The list is empty; an absent entry says where the plugin looked.")
        if subject.info.device_class is not DeviceClass.ACCELERATOR:
            return  # A CPU is always there, and so is a simulation.
        present = [each["id"] for each in devices if each["state"] != DeviceState.ABSENT]
        require(
            not present,
            f"Below an empty root the plugin finds {', '.join(present)}: it does not read below "
            "the root that it is given.",
        )
        self._check_reasons(devices)

    def test_only_the_root_is_read(self, detect: Detect, tmp_path: Path) -> None:
        """With a made tree for a root, nothing of this machine is looked at."""
        (tmp_path / "tree").mkdir()
        (outside,) = detect({"root": str(tmp_path / "tree")}, watch=True)["outside"]
        require(
            not outside,
            f"With a made tree as its root the plugin {'; '.join(outside[:5])}. It must read below "
            "the root that it is given.",
        )

    def test_made_trees_have_devices(self, trees: dict[str, Path], detect: Detect) -> None:
        """In each tree of the declaration there is a device."""
        if not trees:
            skip("The declaration has no trees.")
        found = detect(*[{"root": str(place)} for place in trees.values()])["devices"]
        for name, devices in zip(trees, found, strict=True):
            if all(each["state"] == DeviceState.ABSENT for each in devices):
                reasons = " ".join(each["reason"] for each in devices)
                fail(f"In the tree {name!r} the plugin finds no device: {reasons}")
            self._check_reasons(devices)

    def test_an_empty_variable_hides_every_device(
        self, variable: str, trees: dict[str, Path], detect: Detect
    ) -> None:
        """A visibility variable set to nothing leaves no usable device."""
        place, plain = self._place_with_devices(variable, trees, detect)
        (devices,) = detect({"root": place, "env": {variable: ""}})["devices"]
        usable = [each["id"] for each in devices if each["state"] == DeviceState.USABLE]
        require(
            not usable,
            f"With {variable} set to nothing the plugin still finds {', '.join(usable)}.",
        )
        # Devices that were unusable anyway hide too, and say so.
        require(
            _stable(devices) != _stable(plain),
            f"With {variable} set to nothing the plugin says just what it says without.",
        )
        self._check_reasons(devices)

    def test_variables_are_read_from_env(
        self, variable: str, trees: dict[str, Path], detect: Detect
    ) -> None:
        """The argument ``env`` counts, not the environment of the process."""
        place, _ = self._place_with_devices(variable, trees, detect)
        plain, hidden = detect({"root": place}, {"root": place, "environ": {variable: ""}})[
            "devices"
        ]
        require(
            _stable(plain) == _stable(hidden),
            f"{variable} counts where only os.environ has it: {_difference(plain, hidden)}. Read "
            "it from the argument env.",
        )

    def test_findings_are_findings(self, subject: Subject) -> None:
        """``sagellm_diagnose`` answers for every device."""
        if subject.report.rejection is not None:
            skip(f"The plugin cannot be probed: {subject.report.rejection.message}")
        report = subject.probed(diagnose=True)
        if report.rejection is not None:
            fail(f"{report.rejection.message} {report.rejection.hint}")
        if not report.findings:
            skip("The plugin does not implement sagellm_diagnose.")

    def test_probes_import_nothing_heavy(self, subject: Subject) -> None:
        """The hooks of stage S1 leave torch alone."""
        report = subject.probed(diagnose=True)
        require(not report.warnings, " ".join(report.warnings))

    def _check_reasons(self, devices: Devices) -> None:
        for each in devices:
            if each["state"] != DeviceState.USABLE and not each["reason"].strip():
                fail(f"The device {each['id']!r} is {each['state']}, and its reason is empty.")

    def _place_with_devices(
        self, variable: str, trees: Mapping[str, Path], detect: Detect
    ) -> tuple[str, Devices]:
        """Where there is something to hide, this machine or a made tree; and what there is."""
        if variable == "none":
            skip("The declaration names no visibility variables.")
        places = [Path("/"), *trees.values()]
        found = detect(*[{"root": str(place)} for place in places])["devices"]
        for state in (DeviceState.USABLE, DeviceState.PRESENT_UNUSABLE):
            for place, devices in zip(places, found, strict=True):
                if any(each["state"] == state for each in devices):
                    return str(place), devices
        return skip("Neither this machine nor a tree of the declaration has a device to hide.")


def _stable(devices: Devices) -> Devices:
    return [
        {name: value for name, value in device.items() if name not in _VOLATILE}
        for device in devices
    ]


def _difference(first: Devices, second: Devices) -> str:
    """The first field that differs, for a sentence."""
    if [each["id"] for each in first] != [each["id"] for each in second]:
        ids = [
            ", ".join(each["id"] for each in devices) or "nothing" for devices in (first, second)
        ]
        return f"{ids[1]} in place of {ids[0]}"
    for one, other in zip(_stable(first), _stable(second), strict=True):
        for name, value in one.items():
            if other[name] != value:
                return f"{name} of {one['id']} is {other[name]!r} in place of {value!r}"
    return "nothing that can be shown"
