"""The vendors' own plugins, probed in processes of their own on machines made of files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.providers import Controls, ProbeReport, discover, probe

#: Plugin to what its device is known by on the machine below.
VENDORS = {"cuda": "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "dcu": "0000:07:00.0"}
NVIDIA = {
    "proc/driver/nvidia/version": "NVRM version: Module  580.65.06  Release Build\n",
    "proc/driver/nvidia/gpus/0000:3b:00.0/information": (
        f"Model: NVIDIA L4\nGPU UUID: {VENDORS['cuda']}\nBus Location: 0000:3b:00.0\n"
        "Device Minor: 0\n"
    ),
    "sys/bus/pci/devices/0000:3b:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:3b:00.0/class": "0x030200\n",
    "dev/nvidiactl": "",
    "dev/nvidia-uvm": "",
    "dev/nvidia0": "",
    "usr/lib64/libcuda.so.1": "",
}
HYGON = {
    "sys/class/kfd/kfd/topology/nodes/1/properties": (
        "simd_count 480\nvendor_id 7572\nlocation_id 1792\ndrm_render_minor 128\n"
    ),
    "sys/bus/pci/devices/0000:07:00.0/vendor": "0x1d94\n",
    "sys/bus/pci/devices/0000:07:00.0/class": "0x0b4000\n",
    "dev/kfd": "",
    "dev/dri/renderD128": "",
}
AMD = {
    "sys/class/kfd/kfd/topology/nodes/2/properties": (
        "simd_count 480\nvendor_id 4098\nlocation_id 768\ndrm_render_minor 129\n"
    ),
    "sys/bus/pci/devices/0000:03:00.0/vendor": "0x1002\n",
    "sys/bus/pci/devices/0000:03:00.0/class": "0x030000\n",
    "dev/dri/renderD129": "",
}


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Probes on a machine, with a torch that was built for a toolkit."""
    for name in VENDORS:
        if find_spec(f"sagellm_{name}") is None:
            pytest.skip(f"sagellm-{name} is not installed")

    def probed(files: dict[str, str], toolkit: str, **env: str) -> dict[str, ProbeReport]:
        for name, content in files.items():
            path = tmp_path / "machine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        torch = tmp_path / toolkit / "torch"
        torch.mkdir(parents=True)
        (torch / "__init__.py").write_text("raise AssertionError('torch was imported')\n")
        (torch / "version.py").write_text(f"__version__ = '2.9.0'\n{toolkit} = '12.8'\n")
        # The child looks for modules where this process does.
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(torch.parent))
            entries = discover(Controls(allow=tuple(VENDORS)))
            allowed = [entry for entry in entries if entry.name in VENDORS]
            reports = probe(allowed, None, env=env, root=tmp_path / "machine", diagnose=True)
        assert [report.rejection for report in reports] == [None] * len(VENDORS)
        assert [report.warnings for report in reports] == [()] * len(VENDORS)
        return {report.entry.name: report for report in reports}

    return probed


def _told(report: ProbeReport) -> list[tuple[str, str, str]]:
    return [(each.id, str(each.state), each.physical_id) for each in report.devices]


@pytest.mark.parametrize(("toolkit", "served"), [("cuda", "cuda"), ("hip", "dcu")])
def test_on_a_mixed_machine_each_has_its_own(look: Any, toolkit: str, served: str) -> None:
    found = look(NVIDIA | HYGON | AMD, toolkit)
    for name, physical in VENDORS.items():
        state = "usable" if name == served else "present_unusable"
        assert _told(found[name]) == [(f"{name}:0", state, physical)]
    (other,) = set(VENDORS) - {served}
    assert "is a build for" in found[other].devices[0].reason


@pytest.mark.parametrize("name", VENDORS)
def test_nobody_claims_what_is_anothers(look: Any, name: str) -> None:
    found = look(NVIDIA if name == "cuda" else HYGON, "cuda")
    (other,) = set(VENDORS) - {name}
    assert [each.physical_id for each in found[name].devices] == [VENDORS[name]]
    assert _told(found[other]) == [(other, "absent", "")]


def test_amd_is_nobodys(look: Any) -> None:
    found = look(AMD, "hip")
    assert [_told(found[name]) for name in VENDORS] == [[(n, "absent", "")] for n in VENDORS]
    assert "of AMD" in found["cuda"].devices[0].reason
    assert "of AMD" in found["dcu"].devices[0].reason


def test_one_variable_hides_both(look: Any) -> None:
    found = look(NVIDIA | HYGON, "cuda", CUDA_VISIBLE_DEVICES="")
    for name in VENDORS:
        assert _told(found[name]) == [(name, "absent", "")]
        assert "CUDA_VISIBLE_DEVICES is empty" in found[name].devices[0].reason
