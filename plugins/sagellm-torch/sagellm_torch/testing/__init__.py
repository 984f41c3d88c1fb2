"""A torch device in pure Python, for tests of what runs on devices that are not at hand.

:func:`sim_device` makes ``torch.device("sim")`` known to the process. Numbers are the CPU's; the
device counts operators and copies, refuses types and operators that it is told to refuse, counts
memory, and fails when it is asked to. :mod:`.sim` is a provider over it.

Importing this registers nothing and imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapter import SimAdapter
    from .backend import sim_device
    from .device import SimDevice
    from .faults import DeviceFailedError, NotOnDeviceError
    from .installation import install_plugin
    from .observation import Copy, CopyCount, Observation

_HOME = {
    "SimAdapter": "adapter",
    "sim_device": "backend",
    "SimDevice": "device",
    "DeviceFailedError": "faults",
    "NotOnDeviceError": "faults",
    "install_plugin": "installation",
    "Copy": "observation",
    "CopyCount": "observation",
    "Observation": "observation",
}

__all__ = [
    "Copy",
    "CopyCount",
    "DeviceFailedError",
    "NotOnDeviceError",
    "Observation",
    "SimAdapter",
    "SimDevice",
    "install_plugin",
    "sim_device",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{home}", __name__), name)
