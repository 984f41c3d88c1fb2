"""Machines for tests of detection: file trees made from plain data.

A machine is a mapping of paths to contents, so that machines are put together with ``|``. Device
nodes are plain files: a detector only asks whether they are there, and whether it may open them,
and that question is handed in (:data:`sagellm_torch.hardware.AccessCheck`), because tests often
run as root, who may.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: Paths below the root, without a slash at the front, to contents.
Files = Mapping[str, str]

_LINK = "-> "


def link_to(target: str) -> str:
    """The content of what is a symbolic link."""
    return f"{_LINK}{target}"


def make(root: Path, files: Files) -> Path:
    """Write the tree; returns ``root``."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith(_LINK):
            path.symlink_to(content.removeprefix(_LINK))
        else:
            path.write_text(content, encoding="utf-8")
    return root


def pci(address: str, vendor: int, kind: int, driver: str = "") -> Files:
    """A device on the bus, as :func:`sagellm_torch.hardware.pci_devices` reads it.

    :param kind: base class and subclass, as 0x0302.
    :param driver: the kernel driver it is bound to.
    """
    place = f"sys/bus/pci/devices/{address}"
    files = {f"{place}/vendor": f"{vendor:#06x}\n", f"{place}/class": f"{kind << 8:#08x}\n"}
    if driver:
        files[f"{place}/driver"] = link_to(f"../../../bus/pci/drivers/{driver}")
    return files
