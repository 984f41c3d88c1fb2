"""What a device says when it has no memory left, or is gone, as the contract's errors."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sagellm_core.contract import (
    DeviceLostError,
    DeviceOutOfMemoryError,
    InsufficientMemoryError,
)

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
        with adapter.current():
            yield
    except (MemoryError, RuntimeError) as error:
        if adapter.is_out_of_memory(error):
            _let_go(error)
            raise DeviceOutOfMemoryError(
                f"The device ran out of memory in a step: {_first_line(error)}",
                hint="Run fewer requests at once, or shorter ones, or give the KV cache less "
                "memory.",
            ) from error
        _raise_if_lost(adapter, error)
        raise


@contextmanager
def fitting_errors(adapter: DeviceAdapter, what: str, hint: str) -> Iterator[None]:
    """The same for what is to stay on the device: weights, a KV cache.

    :param what: a sentence without its end, as "Memory ran out while loading".
    :raises InsufficientMemoryError: an allocation failed.
    :raises DeviceLostError: the device is gone.
    """
    try:
        with adapter.current():
            yield
    except (MemoryError, RuntimeError) as error:
        if adapter.is_out_of_memory(error):
            _let_go(error)
            raise InsufficientMemoryError(f"{what}.", hint=hint) from error
        _raise_if_lost(adapter, error)
        raise


def _let_go(error: BaseException) -> None:
    # The exception lives for as long as somebody may look at it, and its frames hold what was
    # computed so far: memory that the next try may need.
    traceback.clear_frames(error.__traceback__)


def _raise_if_lost(adapter: DeviceAdapter, error: BaseException) -> None:
    if adapter.is_lost(error):
        raise DeviceLostError(
            f"The device {adapter.device} is gone: {_first_line(error)}",
            hint="Start again once it is back; a reset, its driver's log or another device may "
            "help.",
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no details"])[0]
