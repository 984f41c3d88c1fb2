"""Machines as file trees, and what is detected on each: every row has its state and its reason.

Trees are made from plain data. Device nodes are plain files in them, and a node that a user may
not open is named in ``denied``, because these tests may run as root, who may open everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sagellm_dcu.detection import Surroundings, detect
from sagellm_torch.testing.machine import Files, make, pci
from sagellm_torch.torch_build import TorchBuild

from sagellm_core.contract import DeviceState

DTK = TorchBuild("2.4.1+das.opt1.dtk25041", {"hip": "6.1.25082"})
CUDA = TorchBuild("2.13.0+cu128", {"cuda": "12.8"})
CPU_ONLY = TorchBuild("2.13.0+cpu", {})

GIB = 2**30


@dataclass(frozen=True)
class Card:
    """An accelerator as the compute driver's files show it."""

    node: int
    #: The bus's number.
    bus: int
    unique: int = 0
    render: int = 128
    vendor: int = 7572
    target: int = 90208

    @property
    def address(self) -> str:
        return f"0000:{self.bus:02x}:00.0"


A = Card(1, 0x07, unique=0xBABABABABABABABA, render=128)
B = Card(2, 0x0A, unique=0xABBAABBAABBAABBA, render=136)
C = Card(10, 0x0F, unique=0xABBABABABABAABBA, render=144)
RADEON = Card(1, 0x03, vendor=4098, target=110000, render=128)

TOPOLOGY = "sys/class/kfd/kfd/topology/nodes"
NODES = {"dev/kfd": "", "dev/mkfd": "", "opt/hyhal/lib/x": ""}
MODULE = {"sys/module/hycu/version": "6.3.8\n"}
DOCKER = {".dockerenv": ""}
#: The processors' node, without SIMD units.
PROCESSOR = {
    f"{TOPOLOGY}/0/properties": "cpu_cores_count 32\nsimd_count 0\nvendor_id 0\n",
    f"{TOPOLOGY}/0/mem_banks/0/properties": f"heap_type 0\nsize_in_bytes {512 * GIB}\n",
}


def listed(*cards: Card) -> Files:
    """What the compute driver and sysfs show."""
    files: dict[str, str] = dict(PROCESSOR)
    for card in cards:
        place = f"{TOPOLOGY}/{card.node}"
        files[f"{place}/properties"] = (
            "cpu_cores_count 0\nsimd_count 480\nmem_banks_count 2\nlds_size_in_kb 64\n"
            f"gfx_target_version {card.target}\nvendor_id {card.vendor}\ndevice_id 25104\n"
            f"location_id {card.bus << 8}\ndomain 0\ndrm_render_minor {card.render}\n"
            f"unique_id {card.unique}\n"
        )
        files[f"{place}/mem_banks/0/properties"] = (
            f"heap_type 1\nsize_in_bytes {64 * GIB}\nflags 0\nwidth 4096\n"
        )
        files[f"{place}/mem_banks/1/properties"] = "heap_type 4\nsize_in_bytes 65536\n"
        files |= pci(card.address, card.vendor, 0x0B40, "hycu")
    return files


def render(*cards: Card) -> Files:
    return {f"dev/dri/renderD{card.render}": "" for card in cards}


def bare(*cards: Card) -> Files:
    """A machine that is set up well."""
    return listed(*cards) | render(*cards) | NODES | MODULE


#: (id, state, reason)
Row = tuple[str, str, str]


def usable(*ids: str) -> list[Row]:
    return [(name, "usable", "") for name in ids]


def unusable(name: str, reason: str) -> list[Row]:
    return [(name, "present_unusable", reason)]


def absent(reason: str, name: str = "dcu") -> list[Row]:
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
    torch: TorchBuild | None = DTK
    #: Of the devices found, where it matters which has which number.
    physical: tuple[str, ...] | None = None


NOWHERE = "there is no /sys/class/kfd and no DCU on the PCI bus (vendor 0x1d94)"
EVERY = "which hides every DCU"

CASES = [
    # --- bare machines
    Case("one DCU", bare(A), usable("dcu:0"), physical=(A.address,)),
    Case(
        "three DCUs, by the numbers of their nodes",
        bare(C, B, A),
        usable("dcu:0", "dcu:1", "dcu:2"),
        physical=(A.address, B.address, C.address),
    ),
    Case("nothing", {}, absent(NOWHERE)),
    Case(
        "a compute driver and no accelerator",
        PROCESSOR | MODULE,
        absent("no node in /sys/class/kfd is an accelerator"),
    ),
    Case(
        "no driver",
        pci(A.address, 0x1D94, 0x0B40),
        unusable(f"dcu@{A.address}", "Hygon's driver is not loaded"),
    ),
    Case(
        "no driver, and a DCU that calls itself a display controller",
        pci(A.address, 0x1D94, 0x0380),
        unusable(f"dcu@{A.address}", "Hygon's driver is not loaded"),
    ),
    Case(
        "a driver that does not list the DCU",
        pci(A.address, 0x1D94, 0x0B40, "hycu") | PROCESSOR | MODULE,
        unusable(
            f"dcu@{A.address}", "Hygon's driver is loaded and does not list it in /sys/class/kfd"
        ),
    ),
    Case(
        "a DCU given to a virtual machine",
        pci(A.address, 0x1D94, 0x0B40, "vfio-pci"),
        absent("it was given to a virtual machine (driver vfio-pci)", f"dcu@{A.address}"),
    ),
    Case(
        "a processor of Hygon and its bridges",
        pci("0000:00:00.0", 0x1D94, 0x0600) | pci("0000:05:00.2", 0x1D94, 0x108000),
        absent(NOWHERE),
    ),
    Case(
        "no compute node",
        listed(A) | render(A) | MODULE,
        unusable("dcu:0", "there is no /dev/kfd"),
    ),
    Case(
        "no render node",
        listed(A) | NODES | MODULE,
        unusable("dcu:0", "there is no /dev/dri/renderD128"),
    ),
    # --- containers
    Case("a container with its DCU", DOCKER | bare(A), usable("dcu:0"), physical=(A.address,)),
    Case(
        "a container with one of two DCUs, whose files show both",
        DOCKER | listed(A, B) | render(B) | NODES,
        usable("dcu:0"),
        physical=(B.address,),
    ),
    Case(
        "a container without nodes",
        DOCKER | listed(A),
        unusable("dcu:0", "the container has no /dev/kfd"),
    ),
    Case(
        "a container with the compute node alone",
        DOCKER | listed(A) | {"dev/kfd": ""},
        unusable("dcu:0", "the container has no /dev/dri/renderD128"),
    ),
    Case(
        "a container that sees a DCU on the bus alone",
        DOCKER | pci(A.address, 0x1D94, 0x0B40, "hycu"),
        unusable(
            f"dcu@{A.address}", "the container was given no DCU, or the host has no driver for it"
        ),
    ),
    Case(
        "a container that sees the host's bus, with one of two DCUs",
        DOCKER | bare(A) | pci(B.address, 0x1D94, 0x0B40, "hycu"),
        usable("dcu:0"),
        physical=(A.address,),
    ),
    Case(
        "a DCU whose properties this container may not read",
        DOCKER | bare(A) | {f"{TOPOLOGY}/2/gpu_id": "", f"{TOPOLOGY}/2/properties": ""},
        usable("dcu:0"),
        physical=(A.address,),
    ),
    # --- variables; their grammar is in test_visibility.py
    Case(
        "an empty list for HIP",
        bare(A),
        absent(f"HIP_VISIBLE_DEVICES is empty, {EVERY}"),
        {"HIP_VISIBLE_DEVICES": ""},
    ),
    Case(
        "an empty list for the runtime",
        bare(A),
        absent(f"ROCR_VISIBLE_DEVICES is empty, {EVERY}"),
        {"ROCR_VISIBLE_DEVICES": ""},
    ),
    Case(
        "an empty list for CUDA",
        bare(A),
        absent(f"CUDA_VISIBLE_DEVICES is empty, {EVERY}"),
        {"CUDA_VISIBLE_DEVICES": ""},
    ),
    Case(
        "-1",
        bare(A, B),
        absent(f"HIP_VISIBLE_DEVICES is '-1', {EVERY}"),
        {"HIP_VISIBLE_DEVICES": "-1"},
    ),
    Case(
        "an index",
        bare(A, B),
        usable("dcu:0"),
        {"HIP_VISIBLE_DEVICES": "1"},
        physical=(B.address,),
    ),
    Case(
        "CUDA's variable stands in",
        bare(A, B),
        usable("dcu:0"),
        {"CUDA_VISIBLE_DEVICES": "1"},
        physical=(B.address,),
    ),
    Case(
        "HIP's variable wins over CUDA's",
        bare(A, B),
        usable("dcu:0"),
        {"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"},
        physical=(A.address,),
    ),
    Case(
        "the runtime's variable counts first",
        bare(A, B, C),
        usable("dcu:0"),
        {"ROCR_VISIBLE_DEVICES": "2,1", "HIP_VISIBLE_DEVICES": "1"},
        physical=(B.address,),
    ),
    Case(
        "a UUID",
        bare(A, B, C),
        usable("dcu:0"),
        {"ROCR_VISIBLE_DEVICES": "GPU-ABBAABBAABBAABBA"},
        physical=(B.address,),
    ),
    Case(
        "an index that is not there",
        bare(A, B),
        unusable(
            "dcu",
            "HIP_VISIBLE_DEVICES='4' begins with '4', which names no DCU here, and so hides every "
            "DCU",
        ),
        {"HIP_VISIBLE_DEVICES": "4"},
    ),
    Case(
        "more for HIP than for the runtime",
        bare(A, B),
        unusable(
            "dcu",
            "HIP_VISIBLE_DEVICES='0,1' names more devices than ROCR_VISIBLE_DEVICES='0', which "
            "torch refuses",
        ),
        {"HIP_VISIBLE_DEVICES": "0,1", "ROCR_VISIBLE_DEVICES": "0"},
    ),
    # --- permissions
    Case(
        "no permission on the compute node",
        bare(A),
        unusable("dcu:0", "this user may not open /dev/kfd"),
        denied=("dev/kfd",),
    ),
    Case(
        "no permission on the only render node",
        bare(A),
        unusable("dcu:0", "this user may not open /dev/dri/renderD128"),
        denied=("dev/dri/renderD128",),
    ),
    Case(
        "no permission on one of two render nodes",
        bare(A, B),
        [
            *usable("dcu:0"),
            *unusable(f"dcu@{A.address}", "this user may not open /dev/dri/renderD128"),
        ],
        denied=("dev/dri/renderD128",),
        physical=(B.address, A.address),
    ),
    # --- other vendors, and mixed machines
    Case(
        "AMD",
        listed(RADEON) | render(RADEON) | {"dev/kfd": ""},
        absent("the accelerators in /sys/class/kfd are of AMD, and DCUs are Hygon's"),
        torch=TorchBuild("2.9.0+rocm6.4", {"hip": "6.4.43482"}),
    ),
    Case(
        "an accelerator of nobody we know",
        listed(Card(1, 3, vendor=4318)),
        absent("the accelerators in /sys/class/kfd are of PCI vendor 0x10de, and DCUs are Hygon's"),
    ),
    Case(
        "a DCU beside AMD: only ours are counted",
        bare(B, RADEON),
        usable("dcu:0"),
        physical=(B.address,),
    ),
    Case("NVIDIA", pci("0000:3b:00.0", 0x10DE, 0x0302, "nvidia"), absent(NOWHERE)),
    Case(
        "a DCU beside NVIDIA",
        bare(A) | pci("0000:3b:00.0", 0x10DE, 0x0302, "nvidia"),
        usable("dcu:0"),
        physical=(A.address,),
    ),
    # --- torch; the rest is in test_fitness.py
    Case(
        "torch for CUDA",
        bare(A),
        unusable("dcu:0", "torch 2.13.0+cu128 is a build for cuda, not for HIP"),
        torch=CUDA,
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
