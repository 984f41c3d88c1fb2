"""Files, nodes and NVML put together: which device has which facts."""

from __future__ import annotations

from typing import Any

import pytest
from sagellm_cuda.detection import Surroundings, detect
from sagellm_cuda.nvml import ask_nvml
from sagellm_torch.testing.machine import make, pci
from sagellm_torch.torch_build import TorchBuild

from sagellm_core.contract import DeviceInfo

CUDA12 = TorchBuild("2.13.0+cu128", {"cuda": "12.8"})
SHARED = {"dev/nvidiactl": "", "dev/nvidia-uvm": "", "usr/lib64/libcuda.so.1": ""}
BIG, SMALL = "GPU-b0000000-0000-0000-0000-000000000000", "GPU-a0000000-0000-0000-0000-000000000000"


def _listed(bus: str, uuid: str, minor: int, model: str = "NVIDIA L4") -> dict[str, str]:
    return {
        "proc/driver/nvidia/version": "NVRM version: Module  550.54.15  Tue\n",
        f"proc/driver/nvidia/gpus/{bus}/information": (
            f"Model: {model}\nGPU UUID: {uuid}\nBus Location: {bus}\nDevice Minor: {minor}\n"
        ),
        f"dev/nvidia{minor}": "",
        **SHARED,
    }


@pytest.fixture
def two(tmp_path, fake_gpu) -> Any:
    """A small GPU first on the bus, a big one after it, known by files and by NVML."""
    make(
        tmp_path,
        _listed("0000:01:00.0", SMALL, 0, "T400") | _listed("0000:02:00.0", BIG, 1, "H100"),
    )
    small = fake_gpu(
        bus="00000000:01:00.0",
        uuid=SMALL,
        name="T400",
        capability=(7, 5),
        total=4,
        free=3,
        cores=384,
        clock=1425,
        minor=0,
    )
    big = fake_gpu(bus="00000000:02:00.0", uuid=BIG, name="H100", total=80, free=70, minor=1)
    return tmp_path, [small, big]


def _detect(root: Any, nvml: Any, **env: str) -> list[DeviceInfo]:
    return detect(Surroundings(env=env, root=root, torch=CUDA12, nvml=ask_nvml(nvml)))


def test_nvml_adds_what_files_do_not_tell(two, fake_nvml) -> None:
    root, gpus = two
    by_bus = _detect(root, fake_nvml(gpus), CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert [(each.id, each.physical_id, each.memory_free) for each in by_bus] == [
        ("cuda:0", SMALL, 3),
        ("cuda:1", BIG, 70),
    ]
    assert by_bus[0].driver == "580.65.06"


def test_cuda_counts_the_fastest_first(two, fake_nvml) -> None:
    root, gpus = two
    found = _detect(root, fake_nvml(gpus))
    assert [each.physical_id for each in found] == [BIG, SMALL]
    # So do the indices in its variable; UUIDs need no counting.
    (first,) = _detect(root, fake_nvml(gpus), CUDA_VISIBLE_DEVICES="0")
    (named,) = _detect(root, fake_nvml(gpus), CUDA_VISIBLE_DEVICES=SMALL)
    assert (first.memory_free, named.memory_free) == (70, 3)


def test_nvml_ignores_the_variable_and_so_is_matched_by_uuid(two, fake_nvml) -> None:
    root, gpus = two
    found = _detect(
        root, fake_nvml(gpus), CUDA_VISIBLE_DEVICES="1,0", CUDA_DEVICE_ORDER="PCI_BUS_ID"
    )
    assert [(each.id, each.name, each.memory_free) for each in found] == [
        ("cuda:0", "H100", 70),
        ("cuda:1", "T400", 3),
    ]


def test_files_alone_where_nvml_fails(two, fake_nvml, nvml_error) -> None:
    root, _ = two
    found = _detect(root, fake_nvml(init_error=nvml_error(12, "NVML Shared Library Not Found")))
    assert [(str(each.state), each.memory_free) for each in found] == [("usable", None)] * 2


def test_a_driver_that_was_updated_under_way(two, fake_nvml, nvml_error) -> None:
    root, _ = two
    found = _detect(root, fake_nvml(init_error=nvml_error(18, "Driver/library version mismatch")))
    assert {str(each.state) for each in found} == {"present_unusable"}
    assert "different versions" in found[0].reason
    assert "Reboot" in found[0].hint


def test_a_scheduler_gave_one_of_two(two, fake_nvml, nvml_error) -> None:
    """All files are there, and opening the other GPU fails: CUDA counts one."""
    root, (small, big) = two
    small.handle_error = nvml_error(4, "Insufficient Permissions")
    (device,) = _detect(root, fake_nvml([small, big]), CUDA_VISIBLE_DEVICES="0")
    assert (device.id, device.physical_id) == ("cuda:0", BIG)


def test_the_lost_one_is_the_one_that_nvml_does_not_know(two, fake_nvml, nvml_error) -> None:
    root, (small, big) = two
    small.handle_error = nvml_error(15, "GPU is lost")
    found = _detect(root, fake_nvml([small, big]))
    assert [(each.id, str(each.state)) for each in found] == [
        ("cuda:0", "usable"),
        ("cuda@0000:01:00.0", "present_unusable"),
    ]
    assert "fallen off the bus" in found[1].reason


def test_a_container_with_nodes_and_nvml_alone(tmp_path, fake_nvml, fake_gpu) -> None:
    make(tmp_path, {".dockerenv": "", "dev/nvidia0": "", **SHARED})
    (device,) = _detect(tmp_path, fake_nvml([fake_gpu()]))
    assert (device.id, str(device.state)) == ("cuda:0", "usable")
    assert device.name == "NVIDIA H100 80GB HBM3"


def test_windows_with_nvml(tmp_path, fake_nvml, fake_gpu) -> None:
    make(tmp_path, {"dev/dxg": "", "usr/lib/wsl/lib/libcuda.so.1": ""})
    pair = [fake_gpu(), fake_gpu(bus="00000000:4B:00.0", uuid=BIG)]
    found = _detect(tmp_path, fake_nvml(pair, driver="551.61", cuda=12040))
    assert [(each.id, each.driver) for each in found] == [
        ("cuda:0", "551.61"),
        ("cuda:1", "551.61"),
    ]


def test_windows_where_the_library_of_cuda_is_missing(tmp_path, fake_nvml, fake_gpu) -> None:
    make(tmp_path, {"dev/dxg": ""})
    (device,) = _detect(tmp_path, fake_nvml([fake_gpu()]))
    assert (device.id, str(device.state)) == ("cuda:0", "present_unusable")
    assert "no libcuda.so" in device.reason


def test_instances_are_devices(tmp_path, fake_nvml, fake_gpu) -> None:
    """CUDA shows one instance, and no whole GPU beside it."""
    make(tmp_path, _listed("0000:3b:00.0", BIG, 0) | _listed("0000:5b:00.0", SMALL, 1))
    parts = [fake_gpu(uuid=f"MIG-{n}", name=f"MIG {n}", total=10, free=n) for n in (1, 2)]
    whole = fake_gpu(bus="00000000:5B:00.0", uuid=SMALL, minor=1)
    nvml = fake_nvml([fake_gpu(uuid=BIG, mig=True, instances=parts), whole])
    for env, expected in (
        ({}, ("cuda:0", "MIG-1", 1)),
        ({"CUDA_VISIBLE_DEVICES": "MIG-2"}, ("cuda:0", "MIG-2", 2)),
        ({"CUDA_VISIBLE_DEVICES": "MIG-2,MIG-1"}, ("cuda:0", "MIG-2", 2)),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ("cuda:0", SMALL, whole.free)),
    ):
        (device,) = _detect(tmp_path, nvml, **env)
        assert (device.id, device.physical_id, device.memory_free) == expected


def test_mig_mode_without_an_instance(tmp_path, fake_nvml, fake_gpu) -> None:
    make(tmp_path, _listed("0000:3b:00.0", BIG, 0))
    (device,) = _detect(tmp_path, fake_nvml([fake_gpu(uuid=BIG, mig=True)]))
    assert str(device.state) == "present_unusable"
    assert "MIG mode is on" in device.reason


def test_a_gpu_of_another_vendor_is_not_ours(tmp_path, fake_nvml) -> None:
    make(tmp_path, pci("0000:03:00.0", 0x1002, 0x0300))
    (nothing,) = _detect(tmp_path, fake_nvml())
    assert (nothing.id, nothing.reason) == ("cuda", "there is no GPU of NVIDIA, only of AMD")
