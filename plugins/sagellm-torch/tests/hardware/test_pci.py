"""The PCI bus of made trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagellm_torch.hardware.pci import PCIDevice, address_order, normal_address, pci_devices


def _add(root: Path, address: str, **files: str) -> Path:
    place = root / "sys/bus/pci/devices" / address
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name).write_text(text)
    return place


def test_devices_come_in_the_order_of_their_addresses(tmp_path) -> None:
    _add(tmp_path, "10000:01:00.0", vendor="0x1\n", device="0x2\n", **{"class": "0x010802\n"})
    place = _add(tmp_path, "0000:0a:00.1", vendor="0x8086\n", device="0x56c0\n")
    (place / "class").write_text("0x038000\n")
    (place / "driver").symlink_to("../../../bus/pci/drivers/made")
    assert pci_devices(tmp_path) == (
        PCIDevice("0000:0a:00.1", 0x8086, 0x56C0, 0x038000, "made"),
        PCIDevice("10000:01:00.0", 1, 2, 0x010802),
    )


def test_classes_are_read_from_the_left() -> None:
    device = PCIDevice("0000:01:00.0", 1, 2, 0x030200)
    assert (device.base_class, device.kind) == (0x03, 0x0302)


def test_a_machine_without_sysfs_has_none(tmp_path) -> None:
    assert pci_devices(tmp_path) == ()


def test_what_is_no_device_is_left_out(tmp_path) -> None:
    _add(tmp_path, "0000:01:00.0", vendor="what?")
    _add(tmp_path, "0000:02:00.0")
    assert pci_devices(tmp_path) == ()


def test_missing_numbers_are_zero(tmp_path) -> None:
    _add(tmp_path, "0000:01:00.0", vendor="0x1234")
    assert pci_devices(tmp_path) == (PCIDevice("0000:01:00.0", 0x1234, 0, 0),)


@pytest.mark.parametrize(
    ("printed", "address"),
    [
        ("00000000:3B:00.0", "0000:3b:00.0"),
        ("0000:3b:00.0", "0000:3b:00.0"),
        ("00010000:01:00.0", "10000:01:00.0"),
    ],
)
def test_addresses_as_drivers_print_them(printed, address) -> None:
    assert normal_address(printed) == address


@given(st.text(max_size=20))
def test_the_order_takes_any_name(name) -> None:
    assert isinstance(address_order(name), tuple)
