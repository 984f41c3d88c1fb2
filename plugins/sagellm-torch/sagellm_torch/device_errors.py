"""What a device says when it has no memory left, or is gone, as the contract's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sagellm_core.contract import DeviceLostError, DeviceOutOfMemoryError

if TYPE_CHECKING:
    from .adapter import DeviceAdapter


@contextmanager
def device_errors(adapter: DeviceAdapter) -> Iterator[None]:
    """Raise typed errors for what the adapter takes for lack of memory or loss of the device.

    Everything else passes as it is.

    :raises DeviceOutOfMemoryError: an allocation failed.
    :raises DeviceLostError: the device is gone.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if adapter.is_out_of_memory(error):
            raise DeviceOutOfMemoryError(
                f"The device ran out of memory in a step: {_first_line(error)}",
                hint="Run fewer requests at once, or shorter ones, or give the KV cache less "
                "memory.",
            ) from error
        if adapter.is_lost(error):
            raise DeviceLostError(
                f"The device {adapter.device} is gone: {_first_line(error)}",
                hint="Start again once it is back; a reset, its driver's log or another device "
                "may help.",
            ) from error
        raise


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no details"])[0]
