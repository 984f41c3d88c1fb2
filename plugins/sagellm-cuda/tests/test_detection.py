"""Machines as file trees, and what is detected on each: every row has its state and its reason.

Trees are made from plain data. Device nodes are plain files in them, and a node that a user may
not open is named in ``denied``, because these tests may run as root, who may open everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sagellm_cuda.detection import Surroundings, detect
from sagellm_torch.testing.machine import Files, make, pci
from sagellm_torch.torch_build import TorchBuild

from sagellm_core.contract import DeviceState

CUDA12 = TorchBuild("2.13.0+cu128", {"cuda": "12.8"})
CUDA13 = TorchBuild("2.13.0+cu130", {"cuda": "13.0"})
HIP = TorchBuild("2.9.0+rocm6.4", {"hip": "6.4.43482"})
CPU_ONLY = TorchBuild("2.13.0+cpu", {})


@dataclass(frozen=True)
class Card:
    """A GPU as the driver's files show it."""

    bus: str
    model: str
    uuid: str
    minor: int
    excluded: str = "No"


A = Card("0000:3b:00.0", "NVIDIA L4", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", 0)
B = Card("0000:af:00.0", "NVIDIA L4", "GPU-8932a000-1111-2222-3333-444455556666", 1)
FRESH = Card("0000:3b:00.0", "NVIDIA L4", "GPU-????????-????-????-????-????????????", 0)
LEFT_OUT = Card("0000:3b:00.0", "NVIDIA L4", A.uuid, 0, excluded="Yes")

LIBRARY = {"usr/lib/x86_64-linux-gnu/libcuda.so.1": ""}
SHARED_NODES = {"dev/nvidiactl": "", "dev/nvidia-uvm": ""}
NODE_MAKER = {"usr/bin/nvidia-modprobe": ""}
DOCKER = {".dockerenv": ""}
WINDOWS = {"dev/dxg": ""}
WINDOWS_LIBRARY = {"usr/lib/wsl/lib/libcuda.so.1": ""}


def module(*cards: Card, version: str = "550.54.15") -> Files:
    """The loaded kernel module: procfs and sysfs."""
    files = {
        "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  "
        f"{version}  Tue Mar  5 22:23:56 UTC 2024\nGCC version:  gcc version 12.3.0\n"
    }
    for card in cards:
        files |= pci(card.bus, 0x10DE, 0x0302, "nvidia")
        files[f"proc/driver/nvidia/gpus/{card.bus}/information"] = (
            f"Model: \t\t {card.model}\nIRQ:   \t\t 186\nGPU UUID: \t {card.uuid}\n"
            f"Bus Type: \t PCIe\nBus Location: \t {card.bus}\nDevice Minor: \t {card.minor}\n"
            f"GPU Excluded:\t {card.excluded}\n"
        )
    return files


def nodes(*cards: Card) -> Files:
    return SHARED_NODES | {f"dev/nvidia{card.minor}": "" for card in cards}


def bare(*cards: Card, version: str = "550.54.15") -> Files:
    """A machine that is set up well."""
    return module(*cards, version=version) | nodes(*cards) | LIBRARY | NODE_MAKER


#: (id, state, reason)
Row = tuple[str, str, str]


def usable(*ids: str) -> list[Row]:
    return [(name, "usable", "") for name in ids]


def unusable(name: str, reason: str) -> list[Row]:
    return [(name, "present_unusable", reason)]


def absent(reason: str, name: str = "cuda") -> list[Row]:
    return [(name, "absent", reason)]


@dataclass(frozen=True)
class Case:
    """A machine and what is found on it."""

    title: str
    files: Files
    expected: list[Row]
    env: Mapping[str, str] = field(default_factory=dict)
    #: Nodes that this user may not open.
    denied: tuple[str, ...] = ()
    torch: TorchBuild | None = CUDA12
    #: Of the devices found, where it matters which GPU has which number.
    physical: tuple[str, ...] | None = None


def shows(value: str) -> Mapping[str, str]:
    return {"CUDA_VISIBLE_DEVICES": value}


NOWHERE = (
    "there is no /dev/nvidiactl, no /proc/driver/nvidia and no display device of PCI vendor 0x10de"
)
EVERY = "which hides every GPU"
NO_NODE = "the container has no /dev/nvidiactl"

CASES = [
    # --- bare machines
    Case("one GPU", bare(A), usable("cuda:0"), physical=(A.uuid,)),
    Case("two GPUs", bare(A, B), usable("cuda:0", "cuda:1"), physical=(A.uuid, B.uuid)),
    Case("no GPU", {}, absent(NOWHERE)),
    Case("a GPU not used since boot", bare(FRESH), usable("cuda:0"), physical=(FRESH.bus,)),
    Case(
        "nodes that the driver makes when they are asked for",
        module(A) | LIBRARY | NODE_MAKER,
        usable("cuda:0"),
    ),
    Case(
        "no nodes, and nobody to make them",
        module(A) | LIBRARY,
        unusable("cuda:0", "there is no /dev/nvidiactl"),
    ),
    Case(
        "no driver",
        pci(A.bus, 0x10DE, 0x0302),
        unusable(f"cuda@{A.bus}", "NVIDIA's driver is not loaded"),
    ),
    Case(
        "a driver without CUDA",
        pci(A.bus, 0x10DE, 0x0300, driver="nouveau"),
        unusable(f"cuda@{A.bus}", "it runs under the driver nouveau, which knows no CUDA"),
    ),
    Case(
        "a GPU given to a virtual machine",
        pci(A.bus, 0x10DE, 0x0300, driver="vfio-pci"),
        absent("it was given to a virtual machine (driver vfio-pci)", f"cuda@{A.bus}"),
    ),
    Case(
        "a GPU too old for the driver, beside another",
        bare(B) | pci(A.bus, 0x10DE, 0x0302),
        [
            *usable("cuda:0"),
            *unusable(f"cuda@{A.bus}", "NVIDIA's driver is loaded and does not drive it"),
        ],
        physical=(B.uuid, A.bus),
    ),
    Case(
        "a GPU that the driver was told to leave alone",
        bare(LEFT_OUT),
        unusable("cuda:0", "the driver was told to leave it alone (GPU Excluded: Yes)"),
    ),
    Case(
        "a driver, and its GPU is gone",
        module(),
        absent("NVIDIA's driver is loaded, and there is no GPU for it"),
    ),
    Case(
        "NVIDIA's sound chip and bridge",
        pci("0000:3b:00.1", 0x10DE, 0x0403) | pci("0000:3a:00.0", 0x10DE, 0x0604),
        absent(NOWHERE),
    ),
    Case(
        "no CUDA library",
        module(A) | nodes(A) | NODE_MAKER,
        unusable("cuda:0", "the loader finds no libcuda.so.1"),
    ),
    Case(
        "the CUDA library where only the loader's cache knows",
        module(A) | nodes(A) | {"etc/ld.so.cache": "...libcuda.so.1\0/opt/driver/libcuda.so.1\0"},
        usable("cuda:0"),
    ),
    Case(
        "the CUDA library in LD_LIBRARY_PATH",
        module(A) | nodes(A) | {"opt/driver/libcuda.so.1": ""},
        usable("cuda:0"),
        env={"LD_LIBRARY_PATH": "/opt/driver:"},
    ),
    Case(
        "a Jetson",
        {"proc/device-tree/compatible": "nvidia,p3737-0000\0nvidia,tegra234\0", "dev/nvmap": ""},
        usable("cuda:0"),
    ),
    # --- containers
    Case("a container with its GPU", DOCKER | bare(A), usable("cuda:0"), physical=(A.uuid,)),
    Case(
        "a container with one of two GPUs, whose files show both",
        DOCKER | module(A, B) | nodes(B) | LIBRARY,
        usable("cuda:0"),
        physical=(B.uuid,),
    ),
    Case(
        "a container that sees the host's bus, with one of two GPUs",
        DOCKER | bare(A) | pci(B.bus, 0x10DE, 0x0302, "nvidia"),
        usable("cuda:0"),
        physical=(A.uuid,),
    ),
    Case(
        "a container with device nodes and nothing else of the driver",
        DOCKER | nodes(A, B) | LIBRARY,
        usable("cuda:0", "cuda:1"),
        physical=("", ""),
    ),
    Case("a container without nodes", DOCKER | module(A), unusable("cuda:0", NO_NODE)),
    Case(
        "a container with the shared nodes alone",
        DOCKER | module(A) | SHARED_NODES | LIBRARY,
        unusable("cuda:0", "the container has no /dev/nvidia0"),
    ),
    Case(
        "a container without unified memory",
        DOCKER | module(A) | {"dev/nvidiactl": "", "dev/nvidia0": ""} | LIBRARY,
        unusable("cuda:0", "the container has no /dev/nvidia-uvm"),
    ),
    Case(
        "a container for watching only",
        DOCKER | module(A) | nodes(A),
        unusable("cuda:0", "the container has no libcuda.so.1"),
        env={"NVIDIA_DRIVER_CAPABILITIES": "utility"},
    ),
    Case(
        "a container that sees a GPU on the bus alone",
        DOCKER | pci(A.bus, 0x10DE, 0x0302),
        unusable(
            f"cuda@{A.bus}", "the container was given no GPU, or the host has no NVIDIA driver"
        ),
    ),
    Case(
        "a container that was to have no GPU",
        DOCKER | module(A),
        absent("NVIDIA_VISIBLE_DEVICES is 'void', so the container was given no GPU"),
        env={"NVIDIA_VISIBLE_DEVICES": "void"},
    ),
    Case(
        "a container whose GPU came by another way",
        DOCKER | bare(A),
        usable("cuda:0"),
        env={"NVIDIA_VISIBLE_DEVICES": "void"},
    ),
    Case(
        "the containers' variable outside of one",
        bare(A),
        unusable("cuda:0", "this user may not open /dev/nvidiactl"),
        env={"NVIDIA_VISIBLE_DEVICES": "void"},
        denied=("dev/nvidiactl",),
    ),
    Case(
        "a pod that asked for all GPUs and has none",
        module(A),
        unusable("cuda:0", NO_NODE),
        env={"NVIDIA_VISIBLE_DEVICES": "all", "KUBERNETES_SERVICE_HOST": "10.0.0.1"},
    ),
    # --- Windows Subsystem for Linux
    Case("Windows", WINDOWS | WINDOWS_LIBRARY, usable("cuda:0")),
    Case(
        "Windows without NVIDIA's driver",
        WINDOWS,
        absent(
            "Windows lends a GPU (/dev/dxg), and there is no libcuda.so in /usr/lib/wsl/lib: it is "
            "not NVIDIA's, or Windows has no driver of NVIDIA's"
        ),
    ),
    Case(
        "Windows, where the GPU may not be opened",
        WINDOWS | WINDOWS_LIBRARY,
        unusable("cuda:0", "this user may not open /dev/dxg"),
        denied=("dev/dxg",),
    ),
    Case("a container on Windows", DOCKER | WINDOWS | LIBRARY, usable("cuda:0")),
    # --- CUDA_VISIBLE_DEVICES; its grammar is in test_visibility.py
    Case("an empty list", bare(A), absent(f"CUDA_VISIBLE_DEVICES is empty, {EVERY}"), shows("")),
    Case("-1", bare(A, B), absent(f"CUDA_VISIBLE_DEVICES is '-1', {EVERY}"), shows("-1")),
    Case(
        "hidden, and without a driver",
        pci(A.bus, 0x10DE, 0x0302),
        absent(f"CUDA_VISIBLE_DEVICES is empty, {EVERY}"),
        shows(""),
    ),
    Case("an index", bare(A, B), usable("cuda:0"), shows("1"), physical=(B.uuid,)),
    Case(
        "two indices the other way round",
        bare(A, B),
        usable("cuda:0", "cuda:1"),
        shows("1,0"),
        physical=(B.uuid, A.uuid),
    ),
    Case("a UUID", bare(A, B), usable("cuda:0"), shows(B.uuid), physical=(B.uuid,)),
    Case("a UUID cut short", bare(A, B), usable("cuda:0"), shows("GPU-8932f"), physical=(A.uuid,)),
    Case(
        "an index that is not there",
        bare(A),
        unusable(
            "cuda",
            "CUDA_VISIBLE_DEVICES='7' begins with '7', which names no GPU here, and so hides every "
            "GPU",
        ),
        shows("7"),
    ),
    Case(
        "a UUID taken at its word, where nothing tells them",
        DOCKER | nodes(A, B) | LIBRARY,
        usable("cuda:0"),
        shows(B.uuid),
        physical=(B.uuid,),
    ),
    # --- permissions
    Case(
        "no permission on the control node",
        bare(A),
        unusable("cuda:0", "this user may not open /dev/nvidiactl"),
        denied=("dev/nvidiactl",),
    ),
    Case(
        "no permission on the only GPU",
        bare(A),
        unusable("cuda:0", "this user may not open /dev/nvidia0"),
        denied=("dev/nvidia0",),
    ),
    Case(
        "no permission on one of two GPUs: CUDA does not count it",
        bare(A, B),
        [
            *usable("cuda:0"),
            *unusable(f"cuda@{A.bus}", "this user may not open /dev/nvidia0"),
        ],
        denied=("dev/nvidia0",),
        physical=(B.uuid, A.uuid),
    ),
    Case(
        "no permission on unified memory",
        DOCKER | bare(A),
        unusable("cuda:0", "this user may not open /dev/nvidia-uvm"),
        denied=("dev/nvidia-uvm",),
    ),
    # --- other vendors, and mixed machines
    Case(
        "AMD alone",
        pci("0000:03:00.0", 0x1002, 0x0300),
        absent("there is no GPU of NVIDIA, only of AMD"),
    ),
    Case(
        "AMD under its driver, with HIP variables",
        pci("0000:03:00.0", 0x1002, 0x0300, driver="amdgpu")
        | {"dev/kfd": "", "dev/dri/renderD128": ""},
        absent("there is no GPU of NVIDIA, only of AMD"),
        env={"HIP_VISIBLE_DEVICES": "0"},
        torch=HIP,
    ),
    Case(
        "a server's own display chip",
        pci("0000:02:00.0", 0x1A03, 0x0300),
        absent("there is no GPU of NVIDIA, only of ASPEED"),
    ),
    Case(
        "a DCU alone",
        pci("0000:07:00.0", 0x1D94, 0x0B40, "hycu") | {"dev/kfd": ""},
        absent(NOWHERE),
    ),
    Case(
        "NVIDIA beside AMD",
        bare(A) | pci("0000:03:00.0", 0x1002, 0x0300, driver="amdgpu"),
        usable("cuda:0"),
        physical=(A.uuid,),
    ),
    # --- torch; the rest is in test_fitness.py
    Case(
        "torch without CUDA",
        bare(A),
        unusable("cuda:0", "torch 2.13.0+cpu is a build without CUDA"),
        torch=CPU_ONLY,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title.replace(" ", "-"))
def test_a_machine(case: Case, tmp_path: Path) -> None:
    root = make(tmp_path, case.files)
    denied = {root / name for name in case.denied}
    here = Surroundings(
        env=case.env, root=root, torch=case.torch, access=lambda node: node not in denied
    )
    found = detect(here)
    assert [(each.id, str(each.state), each.reason) for each in found] == case.expected
    if case.physical is not None:
        assert tuple(each.physical_id for each in found) == case.physical
    for device in found:
        assert device.hint or device.state is not DeviceState.PRESENT_UNUSABLE
    assert detect(here) == found
