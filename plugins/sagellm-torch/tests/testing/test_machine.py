"""Machines made of plain data are read as real ones would be."""

from __future__ import annotations

from sagellm_torch.hardware import PCIDevice, pci_devices, read_text
from sagellm_torch.testing.machine import link_to, make, pci


def test_a_machine_is_put_together_from_parts(tmp_path) -> None:
    parts = {"dev/node": "", "proc/version": "7\n", "run/link": link_to("../proc/version")}
    assert make(tmp_path, parts | {"proc/version": "8\n"}) == tmp_path
    assert (tmp_path / "dev/node").is_file()
    assert read_text(tmp_path / "run/link") == "8"
    # Again, with more.
    make(tmp_path, {"proc/more": "9"})
    assert read_text(tmp_path / "proc/more") == "9"


def test_devices_on_its_bus(tmp_path) -> None:
    make(tmp_path, pci("0000:03:00.0", 0x1234, 0x0302, "made") | pci("0000:02:00.0", 1, 0x0600))
    assert pci_devices(tmp_path) == (
        PCIDevice("0000:02:00.0", 1, 0, 0x060000),
        PCIDevice("0000:03:00.0", 0x1234, 0, 0x030200, "made"),
    )
