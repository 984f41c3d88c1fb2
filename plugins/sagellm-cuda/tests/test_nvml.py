"""What NVML tells, and that nothing it does gets out."""

from __future__ import annotations

import threading
import time

import pytest
from sagellm_cuda.nvml import ask_nvml, load_nvml

_GIB = 2**30


def test_what_it_tells(fake_nvml, fake_gpu) -> None:
    nvml = fake_nvml([fake_gpu()])
    report = ask_nvml(nvml)
    assert (report.driver, report.cuda, report.failure) == ("580.65.06", (13, 0), "")
    (gpu,) = report.gpus
    assert (gpu.address, gpu.uuid[:12], gpu.minor) == ("0000:3b:00.0", "GPU-8932f937", 0)
    assert (gpu.name, gpu.capability) == ("NVIDIA H100 80GB HBM3", (9, 0))
    assert (gpu.memory_total, gpu.memory_free) == (80 * _GIB, 79 * _GIB)
    assert gpu.speed == 16896 * 1980
    assert (gpu.mig, gpu.instances, gpu.problem) == (False, (), None)
    assert nvml.open == 0


def test_older_releases_answer_with_bytes(fake_nvml, fake_gpu) -> None:
    report = ask_nvml(fake_nvml([fake_gpu(name=b"Tesla T4", bus=b"0000:3B:00.0")], driver=b"470.1"))
    assert report.driver == "470.1"
    assert (report.gpus[0].name, report.gpus[0].address) == ("Tesla T4", "0000:3b:00.0")


def test_instances_of_a_gpu_in_mig_mode(fake_nvml, fake_gpu) -> None:
    small = [
        fake_gpu(uuid=f"MIG-{n}", name="NVIDIA H100 MIG 1g.10gb", total=10 * _GIB, free=9 * _GIB)
        for n in (1, 2)
    ]
    (gpu,) = ask_nvml(fake_nvml([fake_gpu(mig=True, instances=small)])).gpus
    assert gpu.mig
    assert [each.uuid for each in gpu.instances] == ["MIG-1", "MIG-2"]
    assert (gpu.instances[0].memory_free, gpu.instances[0].name[-7:]) == (9 * _GIB, "1g.10gb")


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        (4, "Insufficient Permissions", "insufficient permissions"),
        (9, "Driver Not Loaded", "not loaded"),
        (18, "Driver/library version mismatch", "different versions"),
        (12, "NVML Shared Library Not Found", None),
        (999, "Unknown Error", None),
    ],
)
def test_a_library_that_does_not_start(fake_nvml, nvml_error, code, words, reason) -> None:
    report = ask_nvml(fake_nvml(init_error=nvml_error(code, words)))
    assert report.failure == f"NVML: {words}"
    assert (report.problem is None) == (reason is None)
    if report.problem is not None:
        assert reason in report.problem.reason
        assert report.problem.hint


def test_errors_that_are_not_its_own(fake_nvml) -> None:
    report = ask_nvml(fake_nvml(init_error=OSError("libnvidia-ml.so.1: wrong ELF class")))
    assert report.failure == "NVML: libnvidia-ml.so.1: wrong ELF class"
    assert ask_nvml(fake_nvml(init_error=ValueError())).failure == "NVML: ValueError"


def test_an_object_without_the_functions() -> None:
    assert "has no attribute" in ask_nvml(object()).failure


def test_a_gpu_that_this_process_may_not_use(fake_nvml, fake_gpu, nvml_error) -> None:
    refused = fake_gpu(handle_error=nvml_error(4, "Insufficient Permissions"))
    report = ask_nvml(fake_nvml([refused, fake_gpu()]))
    assert (len(report.gpus), report.refused) == (1, 1)


@pytest.mark.parametrize("where", ["handle_error", "memory_error"])
def test_a_gpu_that_is_lost(fake_nvml, fake_gpu, nvml_error, where) -> None:
    (gpu,) = ask_nvml(fake_nvml([fake_gpu(**{where: nvml_error(15, "GPU is lost")})])).gpus
    assert gpu.problem is not None
    assert "fallen off the bus" in gpu.problem.reason


def test_a_gpu_that_may_not_compute(fake_nvml, fake_gpu) -> None:
    (gpu,) = ask_nvml(fake_nvml([fake_gpu(compute_mode=2)])).gpus
    assert gpu.problem is not None
    assert "Prohibited" in gpu.problem.reason


def test_a_gpu_that_shares_the_hosts_memory(fake_nvml, fake_gpu, nvml_error) -> None:
    shares = fake_gpu(memory_error=nvml_error(3, "Not Supported"))
    (gpu,) = ask_nvml(fake_nvml([shares])).gpus
    assert (gpu.memory_total, gpu.memory_free, gpu.problem) == (None, None, None)


def test_a_library_that_hangs_is_left(fake_nvml, fake_gpu) -> None:
    started = time.monotonic()
    report = ask_nvml(fake_nvml([fake_gpu()], seconds=1), patience=0.05)
    assert time.monotonic() - started < 0.8
    assert report.failure == "NVML did not answer within 0.05 s"
    (left,) = [thread for thread in threading.enumerate() if thread.name == "nvml"]
    assert left.daemon
    left.join()


def test_without_nvidia_ml_py() -> None:
    assert ask_nvml(None).failure == "nvidia-ml-py is not installed"


def test_the_real_one_where_there_is_no_driver() -> None:
    nvml = load_nvml()
    if nvml is None:
        pytest.skip("nvidia-ml-py is not installed")
    report = ask_nvml(nvml)
    # On a machine with a driver it answers; on one without, its failure is a sentence.
    assert bool(report.failure) != bool(report.driver)
    assert report.failure.startswith("NVML") or report.driver
