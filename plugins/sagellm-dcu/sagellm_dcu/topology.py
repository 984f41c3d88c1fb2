"""DCUs as the kernel's compute driver (KFD) lists them in sysfs.

The format is that of the Linux kernel's ``drivers/gpu/drm/amd/amdkfd/kfd_topology.c``, from which
Hygon's driver descends: a folder for each node, processors included, with a file ``properties``
of lines "name number", and a folder for each of its banks of memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sagellm_torch.hardware import Problem, read_fields, read_number, read_text
from sagellm_torch.hardware.files import number

_NODES = "sys/class/kfd/kfd/topology/nodes"
_PCI = "sys/bus/pci/devices"
_MODULES = ("hycu", "hydcu")

HYGON = 0x1D94
AMD = 0x1002
#: Memory of the device itself, seen by the processor or not (HSA_HEAPTYPE_FRAME_BUFFER_*).
_LOCAL_HEAPS = frozenset({1, 2})


@dataclass(frozen=True, slots=True, kw_only=True)
class DCU:
    """A node that computes; empty or ``None`` where the files do not say."""

    #: PCI vendor.
    vendor: int
    #: On the PCI bus, as sysfs writes it: ``0000:07:00.0``.
    address: str = ""
    #: As the runtime writes it: ``GPU-`` and 16 hexadecimal digits.
    uuid: str = ""
    #: The instruction set: ``gfx928``.
    target: str = ""
    #: What the maker calls it.
    product: str = ""
    #: The number of its node ``/dev/dri/renderD128``.
    render: int | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    #: Why it cannot be used.
    problem: Problem | None = None

    @property
    def name(self) -> str:
        """For people."""
        return " ".join(part for part in (self.product or "Hygon DCU", self.target) if part)


def has_topology(root: Path) -> bool:
    """Whether a compute driver lists anything."""
    return (root / _NODES).is_dir()


def accelerators(root: Path) -> tuple[DCU, ...]:
    """Nodes that compute, of any maker, in the order in which the runtime counts them.

    A node that this process may not use (a container's device rules) has a file of properties
    that cannot be read, and is left out.
    """
    try:
        places = [place for place in (root / _NODES).iterdir() if place.name.isdecimal()]
    except OSError:
        return ()
    found = []
    for place in sorted(places, key=lambda place: int(place.name)):
        properties = _numbers(place)
        # Processors are nodes too, without SIMD units.
        if properties.get("simd_count", 0) > 0:
            found.append(_read(place, properties, root))
    return tuple(found)


def driver_version(root: Path) -> str:
    """Of Hygon's kernel module; empty where it is not loaded or does not say."""
    versions = [read_text(root / "sys/module" / name / "version") for name in _MODULES]
    return next((version for version in versions if version), "")


def has_driver(root: Path) -> bool:
    """Whether Hygon's kernel module is loaded."""
    return any((root / "sys/module" / name).exists() for name in _MODULES)


def _numbers(place: Path) -> dict[str, int]:
    fields = read_fields(place / "properties")
    values = {name: number(text) for name, text in fields.items()}
    return {name: value for name, value in values.items() if value is not None}


def _read(place: Path, properties: Mapping[str, int], root: Path) -> DCU:
    address = _address(properties)
    device = root / _PCI / address
    total = sum(_local_banks(place)) or None
    used = read_number(device / "mem_info_vram_used")
    unique = properties.get("unique_id", 0)
    return DCU(
        vendor=properties.get("vendor_id", 0),
        address=address,
        uuid=f"GPU-{unique:016x}" if unique else "",
        target=_target(properties.get("gfx_target_version", 0)),
        product=read_text(device / "product_name") or "",
        render=properties.get("drm_render_minor") or None,
        memory_total=total,
        memory_free=None if total is None or used is None else max(0, total - used),
    )


def _address(properties: Mapping[str, int]) -> str:
    """``location_id`` has the bus in its upper byte, then five bits of device and three of
    function; partitions of a device count on in bits above."""
    location = properties.get("location_id")
    if location is None:
        return ""
    bus, slot, function = location >> 8 & 0xFF, location >> 3 & 0x1F, location & 7
    return f"{properties.get('domain', 0):04x}:{bus:02x}:{slot:02x}.{function}"


def _target(version: int) -> str:
    """90208 is gfx928: major, minor and stepping, two decimal digits each, stepping in hex."""
    if version <= 0:
        return ""
    return f"gfx{version // 10000}{version // 100 % 100}{version % 100:x}"


def _local_banks(place: Path) -> Iterator[int]:
    try:
        banks = list((place / "mem_banks").iterdir())
    except OSError:
        return
    for bank in banks:
        properties = _numbers(bank)
        if properties.get("heap_type") in _LOCAL_HEAPS:
            yield max(0, properties.get("size_in_bytes", 0))
