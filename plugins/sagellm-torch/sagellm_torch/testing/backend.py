"""Making the simulated device known to torch."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils import backend_registration

from .device import SimDevice
from .execution import execute, the_device

_NAME, _UNNAMED = "sim", "privateuseone"
#: Kernels that torch has for every device, which would get at memory that is not there. They are
#: reached only where torch leaves Python's own dispatch out, as ``torch.tensor`` does.
_OWN = ("_to_copy", "copy_", "_copy_from", "detach", "alias")
#: What torch composes from an empty tensor and a kernel that changes its shape.
_FACTORIES = (
    "arange", "eye", "full", "linspace", "logspace", "ones", "randperm", "range", "scalar_tensor",
    "tril_indices", "triu_indices", "zeros",
)  # fmt: skip
#: glibc's number of the option, and bytes from which on a block is a mapping of its own.
_MMAP_THRESHOLD, _LARGE = -3, 4 * 2**20
_LIBRARIES: list[torch.library.Library] = []


def sim_device() -> SimDevice:
    """The simulated device; the first call makes ``torch.device("sim")`` known to this process.

    :raises RuntimeError: torch is too old for devices in Python; or the process has another
        device of this kind, and torch has room for one that it does not know itself.
    """
    if not _LIBRARIES:
        _register()
    return the_device()


def _register() -> None:
    # torch calls it experimental; tests/testing holds the version that it is used with.
    setup = getattr(backend_registration, "_setup_privateuseone_for_python_backend", None)
    if setup is None:
        raise RuntimeError(
            f"torch {torch.__version__} has no devices in Python: use a newer one for these tests, "
            "such as 2.13."
        )
    taken = torch._C._get_privateuse1_backend_name()
    if taken != _UNNAMED:
        raise RuntimeError(
            f"This process has the torch device {taken!r} already, and torch has room for one such "
            "device: run what needs the simulated one in a process of its own."
        )
    _give_large_blocks_back()
    setup(_NAME, backend_module=_Module(the_device()))
    library: Any = torch.library.Library
    every = library("_", "IMPL")
    every.fallback(lambda func, *args, **kwargs: execute(func, args, kwargs), "PrivateUse1")
    own = library("aten", "IMPL")
    for func in _own_kernels():
        own.impl(func, partial(_call, func), "PrivateUse1")
    _LIBRARIES.extend((every, own))


def _give_large_blocks_back() -> None:
    """Have the process give large blocks of memory back as soon as they are free.

    glibc learns to keep them (mallopt(3), M_MMAP_THRESHOLD) and cuts them up, so that a process
    that closed a model would look as if it had not.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)


def _own_kernels() -> Iterator[OpOverload]:
    for name in _OWN:
        yield getattr(torch.ops.aten, name).default
    for name in _FACTORIES:
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads():
            func = getattr(packet, overload)
            arguments = {argument.name: str(argument.type) for argument in func._schema.arguments}
            if "device" in arguments and "Tensor" not in arguments.values():
                yield func


def _call(func: OpOverload, *args: Any, **kwargs: Any) -> Any:
    return execute(func, args, kwargs)


class _Module:
    """``torch.sim``, with what devices' modules have in common."""

    def __init__(self, device: SimDevice) -> None:
        self._device = device

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def set_device(self, device: Any) -> None:
        """There is only one."""

    def manual_seed_all(self, seed: int) -> None:
        """Random numbers are the CPU's, whose seed torch sets itself."""

    def synchronize(self, device: Any = None) -> None:
        self._device.check("synchronize")

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        """Free and total bytes."""
        self._device.check("mem_get_info")
        return self._device.memory.free, self._device.memory.total

    def memory_allocated(self, device: Any = None) -> int:
        return self._device.memory.allocated

    def max_memory_allocated(self, device: Any = None) -> int:
        return self._device.memory.peak

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        self._device.memory.forget_peak()

    def empty_cache(self) -> None:
        """Nothing is kept back."""
