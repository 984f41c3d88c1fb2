"""What the driver shows of itself, and what the hook makes of it."""

from __future__ import annotations

import pytest
from sagellm_cuda import plugin
from sagellm_cuda.driver_files import driver_version, leaves_traces, listed_gpus
from sagellm_torch.testing.machine import make

from sagellm_core.contract import DeviceState

_INFORMATION = """\
Model: \t\t NVIDIA H100 80GB HBM3
IRQ:   \t\t 186
GPU UUID: \t GPU-8932f937-d72c-4106-c12f-20bd9faed9f6
Bus Location: \t 0000:3B:00.0
Device Minor: \t 3
GPU Excluded:\t No
"""


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC "
            "2023\nGCC version:  gcc version 12.3.0\n",
            "535.129.03",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  "
            "(dvs-builder@U22)  Sun Jul 27\n",
            "580.65.06",
        ),
        ("NVRM version: NVIDIA UNIX aarch64 Kernel Module  570.86", "570.86"),
        ("something else\n", ""),
    ],
)
def test_the_version_of_either_kernel_module(tmp_path, text, version) -> None:
    make(tmp_path, {"proc/driver/nvidia/version": text})
    assert driver_version(tmp_path) == version


@pytest.mark.parametrize(
    "trace", ["dev/nvidia0", "dev/nvidiactl", "dev/dxg", "dev/nvmap", "proc/driver/nvidia/version"]
)
def test_only_where_a_driver_left_traces_is_nvml_asked(tmp_path, trace) -> None:
    make(tmp_path, {"dev/nvme0": "", "dev/nvidia-modeset": ""})
    assert not leaves_traces(tmp_path)
    make(tmp_path, {trace: ""})
    assert leaves_traces(tmp_path)


def test_no_module(tmp_path) -> None:
    assert driver_version(tmp_path) is None
    assert listed_gpus(tmp_path) == ()


def test_a_listed_gpu(tmp_path) -> None:
    make(tmp_path, {"proc/driver/nvidia/gpus/0000:3b:00.0/information": _INFORMATION})
    (gpu,) = listed_gpus(tmp_path)
    assert (gpu.address, gpu.name, gpu.minor) == ("0000:3b:00.0", "NVIDIA H100 80GB HBM3", 3)
    assert gpu.uuid == gpu.physical_id == "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"


def test_a_gpu_whose_file_says_nothing(tmp_path) -> None:
    make(tmp_path, {"proc/driver/nvidia/gpus/0000:3b:00.0/information": "?"})
    (gpu,) = listed_gpus(tmp_path)
    assert (gpu.address, gpu.uuid, gpu.minor, gpu.problem) == ("0000:3b:00.0", "", None, None)


def test_the_hook_reads_below_its_root(tmp_path) -> None:
    (nothing,) = plugin.sagellm_detect_devices({}, tmp_path)
    assert (nothing.id, nothing.state) == ("cuda", DeviceState.ABSENT)
    make(
        tmp_path,
        {
            "proc/driver/nvidia/version": "NVRM version: Module  580.65.06  Release Build\n",
            "proc/driver/nvidia/gpus/0000:3b:00.0/information": _INFORMATION,
            "dev/nvidiactl": "",
        },
    )
    # Usable or not: that is for the torch of this environment to say.
    (device,) = plugin.sagellm_detect_devices({}, tmp_path)
    assert (device.id, device.name) == ("cuda:0", "NVIDIA H100 80GB HBM3")
    assert (device.driver, device.physical_id[:12]) == ("580.65.06", "GPU-8932f937")
    # Only NVML tells, and it knows nothing of another root.
    assert (device.memory_total, device.memory_free) == (None, None)
    (hidden,) = plugin.sagellm_detect_devices({"CUDA_VISIBLE_DEVICES": ""}, tmp_path)
    assert hidden.state is DeviceState.ABSENT
