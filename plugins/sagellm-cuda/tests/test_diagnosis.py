"""What `sagellm doctor` says about a GPU."""

from __future__ import annotations

from typing import Any

import pytest
from sagellm_cuda.detection import Surroundings, detect
from sagellm_cuda.diagnosis import diagnose
from sagellm_cuda.nvml import NOT_ASKED, NVMLReport, ask_nvml
from sagellm_torch.testing.machine import Files, make, pci
from sagellm_torch.torch_build import TorchBuild

from sagellm_core.contract import Finding, Severity

CUDA12 = TorchBuild("2.13.0+cu128", {"cuda": "12.8"})
NODES = {"dev/nvidiactl": "", "dev/nvidia-uvm": "", "usr/lib64/libcuda.so.1": ""}
VERSION = {"proc/driver/nvidia/version": "NVRM version: Module  550.54.15  Tue\n"}


def _gpu(minor: int, model: str = "NVIDIA L4") -> Files:
    bus = f"0000:0{minor + 1}:00.0"
    return {
        f"proc/driver/nvidia/gpus/{bus}/information": (
            f"Model: {model}\nGPU UUID: GPU-{minor}\nBus Location: {bus}\nDevice Minor: {minor}\n"
        ),
        f"dev/nvidia{minor}": "",
    }


IN_ORDER = VERSION | NODES | _gpu(0)


@pytest.fixture
def findings(tmp_path) -> Any:
    """Findings about the first device of a machine."""

    def look(
        files: Files = IN_ORDER,
        nvml: NVMLReport = NOT_ASKED,
        torch: TorchBuild | None = CUDA12,
        **env: str,
    ) -> list[Finding]:
        here = Surroundings(env=env, root=make(tmp_path, files), torch=torch, nvml=nvml)
        return diagnose(detect(here)[0], here)

    return look


def _about(findings: list[Finding], words: str) -> Finding:
    (found,) = [finding for finding in findings if words in finding.message]
    assert found.severity is Severity.OK or found.hint
    return found


def test_a_machine_without_gpus_has_no_findings(findings) -> None:
    assert findings({}) == []
    assert findings(CUDA_VISIBLE_DEVICES="") == []


def test_a_machine_in_order(findings, fake_nvml, fake_gpu) -> None:
    found = findings(nvml=ask_nvml(fake_nvml([fake_gpu(bus="0000:01:00.0", uuid="GPU-0")])))
    assert _about(found, "Driver").message == (
        "Driver: 580.65.06, runs programs of CUDA 13.0 and older."
    )
    assert _about(found, "torch 2.13").message == "torch 2.13.0+cu128, built with CUDA 12.8."
    # Whether there is a triton is up to this environment.
    others = [finding for finding in found if "Triton" not in finding.message]
    assert {finding.severity for finding in others} == {Severity.OK}


def test_no_driver(findings) -> None:
    found = findings(pci("0000:01:00.0", 0x10DE, 0x0300))
    assert _about(found, "none is loaded").severity is Severity.ERROR


@pytest.mark.parametrize(
    ("torch", "cuda", "severity", "words"),
    [
        (TorchBuild("2.13.0+cpu", {}), None, "error", "is a build without CUDA"),
        (None, None, "error", "Torch is not installed"),
        (TorchBuild("", None), None, "warning", "does not say"),
        (CUDA12, (12, 4), "ok", "is newer than the driver"),
        (CUDA12, (11, 8), "error", "is newer than the driver"),
        (CUDA12, (12, 8), "ok", "built with CUDA 12.8."),
    ],
)
def test_torch_and_the_driver(findings, torch, cuda, severity, words) -> None:
    found = findings(torch=torch, nvml=NVMLReport(cuda=cuda, driver="550.54.15"))
    assert str(_about(found, words).severity) == severity


@pytest.mark.parametrize(
    ("failure", "hint"),
    [
        ("nvidia-ml-py is not installed", "pip install nvidia-ml-py"),
        ("NVML did not answer within 2.5 s", "persistence mode"),
        ("NVML: NVML Shared Library Not Found", "nvidia-smi"),
    ],
)
def test_nvml_that_does_not_tell(findings, failure, hint) -> None:
    found = _about(findings(nvml=NVMLReport(failure=failure)), failure)
    assert found.severity is Severity.WARNING
    assert hint in found.hint


def test_nvml_that_a_container_was_not_given(findings) -> None:
    files = IN_ORDER | {".dockerenv": ""}
    found = findings(files, NVMLReport(failure="NVML: NVML Shared Library Not Found"))
    assert "NVIDIA_DRIVER_CAPABILITIES" in _about(found, "Library Not Found").hint


def test_a_variable_that_ends_early(findings) -> None:
    found = findings(IN_ORDER | _gpu(1), CUDA_VISIBLE_DEVICES="1,5,0")
    cut = _about(found, "CUDA_VISIBLE_DEVICES")
    assert cut.severity is Severity.WARNING
    assert "shows 1 of 2 GPUs: it ends at '5'" in cut.message


def test_a_variable_that_chooses(findings) -> None:
    found = findings(IN_ORDER | _gpu(1), CUDA_VISIBLE_DEVICES="1")
    assert _about(found, "shows 1 of 2 GPUs").severity is Severity.OK


def test_gpus_of_several_models(findings) -> None:
    files = IN_ORDER | _gpu(1, "T400")
    assert "PCI_BUS_ID" in _about(findings(files), "fastest first").hint
    found = findings(CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert not [finding for finding in found if "fastest" in finding.message]


def test_several_instances(findings, fake_nvml, fake_gpu) -> None:
    parts = [fake_gpu(uuid=f"MIG-{n}") for n in (1, 2)]
    gpu = fake_gpu(bus="0000:01:00.0", uuid="GPU-0", mig=True, instances=parts)
    found = findings(nvml=ask_nvml(fake_nvml([gpu])))
    assert "2 instances" in _about(found, "MIG").message
