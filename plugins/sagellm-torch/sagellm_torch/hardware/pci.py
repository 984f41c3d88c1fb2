"""The devices on the PCI bus, as sysfs lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .files import read_number

_DEVICES = "sys/bus/pci/devices"


@dataclass(frozen=True, slots=True)
class PCIDevice:
    """One function of a device.

    Numbers are those of the PCI code and ID assignment specification: a vendor, its device, and
    a class of three bytes, base class first.
    """

    #: ``domain:bus:device.function`` in lower-case hexadecimal, as ``0000:3b:00.0``.
    address: str
    vendor: int
    device: int
    class_code: int
    #: The kernel driver it is bound to; empty when none is.
    driver: str = ""

    @property
    def base_class(self) -> int:
        """The class's first byte: 0x03 is a display controller, 0x12 an accelerator."""
        return self.class_code >> 16

    @property
    def kind(self) -> int:
        """Base class and subclass: 0x0300 is a VGA controller, 0x0302 a 3D one."""
        return self.class_code >> 8


def pci_devices(root: Path) -> tuple[PCIDevice, ...]:
    """Every device, in the order of the addresses; none where there is no sysfs.

    :param root: ``/``, or a made tree.
    """
    try:
        places = list((root / _DEVICES).iterdir())
    except OSError:
        return ()
    found = [device for device in map(_read, places) if device is not None]
    return tuple(sorted(found, key=lambda device: address_order(device.address)))


def address_order(address: str) -> tuple[int, ...]:
    """A sort key: domains, buses and the rest are numbers, and a domain may have more digits."""
    try:
        return tuple(int(part, 16) for part in address.replace(".", ":").split(":"))
    except ValueError:
        return ()


def normal_address(text: str) -> str:
    """An address as sysfs writes it, from what drivers print: ``00000000:3B:00.0``."""
    domain, _, rest = text.strip().lower().partition(":")
    return f"{domain.lstrip('0'):0>4}:{rest}"


def _read(place: Path) -> PCIDevice | None:
    vendor = read_number(place / "vendor")
    if vendor is None:
        return None
    return PCIDevice(
        address=place.name.lower(),
        vendor=vendor,
        device=read_number(place / "device") or 0,
        class_code=read_number(place / "class") or 0,
        driver=_driver(place / "driver"),
    )


def _driver(link: Path) -> str:
    try:
        return link.readlink().name
    except OSError:
        return ""
