"""What `sagellm doctor` says about a DCU."""

from __future__ import annotations

from typing import Any

import pytest
from sagellm_dcu.detection import Surroundings, detect
from sagellm_dcu.diagnosis import diagnose
from sagellm_torch.testing.machine import Files, make, pci
from sagellm_torch.torch_build import TorchBuild

from sagellm_core.contract import Finding, Severity

DTK = TorchBuild("2.4.1+das.opt1.dtk25041", {"hip": "6.1.25082"})
LISTED = {
    f"sys/class/kfd/kfd/topology/nodes/{node}/properties": (
        f"simd_count 480\nvendor_id 7572\nlocation_id {node << 8}\ndrm_render_minor {127 + node}\n"
    )
    for node in (1, 2)
}
GIVEN = {"dev/kfd": "", "dev/dri/renderD128": "", "dev/dri/renderD129": ""}
DRIVER = {"sys/module/hycu/version": "6.3.8\n", "dev/mkfd": "", "opt/hyhal/lib/x": ""}


@pytest.fixture
def findings(tmp_path) -> Any:
    """Findings about the first device of a machine."""

    def look(
        files: Files = LISTED | GIVEN | DRIVER, torch: TorchBuild | None = DTK, **env: str
    ) -> list[Finding]:
        here = Surroundings(env=env, root=make(tmp_path, files), torch=torch)
        return diagnose(detect(here)[0], here)

    return look


def _about(findings: list[Finding], words: str) -> Finding:
    (found,) = [finding for finding in findings if words in finding.message]
    assert found.severity is Severity.OK or found.hint
    return found


def test_a_machine_without_dcus_has_no_findings(findings) -> None:
    assert findings({}) == []
    assert findings(HIP_VISIBLE_DEVICES="") == []


def test_a_machine_in_order(findings) -> None:
    found = findings()
    assert _about(found, "Driver").message == "Driver: 6.3.8."
    assert "a build of the DTK" in _about(found, "torch 2.4.1").message
    # Whether there is a triton is up to this environment.
    others = [finding for finding in found if "Triton" not in finding.message]
    assert {finding.severity for finding in others} == {Severity.OK}


def test_no_driver(findings) -> None:
    found = findings(pci("0000:07:00.0", 0x1D94, 0x0B40))
    assert _about(found, "none is loaded").severity is Severity.ERROR


@pytest.mark.parametrize("missing", ["/dev/mkfd", "/opt/hyhal"])
def test_files_that_some_versions_need(findings, missing) -> None:
    files = {name: text for name, text in DRIVER.items() if not f"/{name}".startswith(missing)}
    found = _about(findings(LISTED | GIVEN | files | {".dockerenv": ""}), missing)
    assert found.severity is Severity.WARNING
    assert missing in found.hint


@pytest.mark.parametrize(
    ("torch", "severity", "words"),
    [
        (None, "error", "Torch is not installed"),
        (TorchBuild("2.13.0+cu128", {"cuda": "12.8"}), "error", "is a build for cuda"),
        (TorchBuild("2.9.0+rocm6.4", {"hip": "6.4"}), "warning", "does not call itself"),
    ],
)
def test_torch(findings, torch, severity, words) -> None:
    assert str(_about(findings(torch=torch), words).severity) == severity


def test_a_variable_that_ends_early(findings) -> None:
    found = _about(findings(HIP_VISIBLE_DEVICES="1,5,0"), "HIP_VISIBLE_DEVICES")
    assert found.severity is Severity.WARNING
    assert "ends at '5'" in found.message
