"""NPUs on this machine, from device files and sysfs. No driver is opened, no library loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sagellm_torch.hardware import PCIDevice, pci_devices, read_text

#: Huawei's number on the PCI bus; its network cards and storage have it too.
VENDOR = 0x19E5
#: The base class of accelerators, which leaves those out.
_ACCELERATOR = 0x12
#: Device numbers of the chips, and what Huawei's own tools call them.
_CHIPS = {
    0xD100: "Ascend 310",
    0xD500: "Ascend 310P",
    0xD801: "Ascend 910",
    0xD802: "Ascend 910B",
    0xD803: "Ascend 910_93",
}
#: What every NPU shares: without these no process gets at any of them.
SHARED_NODES = ("dev/davinci_manager", "dev/devmm_svm", "dev/hisi_hdc")
_NODE = re.compile(r"davinci(\d+)")
#: Where the driver says which PCI address is which NPU: ``c1:00.0 ---> 0``, one a line. Each NPU
#: has the whole table; a domain may stand before the bus.
_TABLE = "sys/bus/pci/devices/{address}/devdrv_sysfs_bdf_to_devid"
_LINE = re.compile(r"\s*([0-9a-fA-F:]+\.[0-7])\s*-+>\s*(\d+)\s*")


@dataclass(frozen=True, slots=True)
class NPU:
    """One NPU that has a device file."""

    #: The number in ``/dev/davinciN``.
    number: int
    #: PCI address as sysfs writes it; empty where it cannot be told.
    address: str
    #: As ``Ascend 910B``.
    chip: str

    @property
    def node(self) -> str:
        """The device file, below the root."""
        return f"dev/davinci{self.number}"


def device_numbers(root: Path) -> tuple[int, ...]:
    """The numbers of the device files, in order."""
    try:
        names = [entry.name for entry in (root / "dev").iterdir()]
    except OSError:
        return ()
    return tuple(sorted(int(match[1]) for match in map(_NODE.fullmatch, names) if match))


def accelerators(root: Path) -> tuple[PCIDevice, ...]:
    """NPUs on the PCI bus, whether or not there is a driver for them."""
    return tuple(
        device
        for device in pci_devices(root)
        if device.vendor == VENDOR and device.base_class == _ACCELERATOR
    )


def npus(root: Path, numbers: Sequence[int], on_bus: Sequence[PCIDevice]) -> tuple[NPU, ...]:
    """What is known of the NPUs with these numbers.

    Their numbers follow no order of addresses, so an address is told where the driver tells it, or
    where there is only one NPU.
    """
    table = _addresses(root, on_bus)
    if not table and len(on_bus) == len(numbers) == 1:
        table = {numbers[0]: on_bus[0].address}
    chips = {device.address: chip_name(device) for device in on_bus}
    kinds = set(chips.values())
    common = kinds.pop() if len(kinds) == 1 else "Ascend NPU"
    return tuple(
        NPU(number, table.get(number, ""), chips.get(table.get(number, ""), common))
        for number in numbers
    )


def chip_name(device: PCIDevice) -> str:
    """The product of a PCI device, as ``Ascend 910B``."""
    return _CHIPS.get(device.device, "Ascend NPU")


def _addresses(root: Path, on_bus: Sequence[PCIDevice]) -> dict[int, str]:
    """NPU numbers and their PCI addresses, of those that the driver's table names."""
    found: dict[int, str] = {}
    for device in on_bus:
        for line in (read_text(root / _TABLE.format(address=device.address)) or "").splitlines():
            match = _LINE.fullmatch(line)
            if match is None:
                continue
            full = _full_address(match[1], on_bus)
            if full:
                found.setdefault(int(match[2]), full)
    return found


def _full_address(written: str, on_bus: Sequence[PCIDevice]) -> str:
    """The address in sysfs that ends as the driver writes it; empty when several do."""
    bus = ":".join(written.lower().split(":")[-2:])
    ends = [device.address for device in on_bus if device.address.endswith(f":{bus}")]
    return ends[0] if len(ends) == 1 else ""
