"""What a detector reads of a machine, whoever made the device: files below a root, never torch.

Everything takes the root of the file system as a parameter, ``/`` in real life, so that tests can
hand in a made tree. Nothing here names a vendor: those are numbers that the caller passes.
"""

from __future__ import annotations

from .access import AccessCheck, may_open
from .container import in_container
from .files import read_fields, read_number, read_text
from .pci import PCIDevice, pci_devices
from .problem import Problem

__all__ = [
    "AccessCheck",
    "PCIDevice",
    "Problem",
    "in_container",
    "may_open",
    "pci_devices",
    "read_fields",
    "read_number",
    "read_text",
]
