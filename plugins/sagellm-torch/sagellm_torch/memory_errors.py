"""torch's many ways of saying that memory ran out, as one typed error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sagellm_core.contract import DeviceOutOfMemoryError

#: What allocators without an exception class of their own write into a RuntimeError.
_PHRASES = ("not enough memory", "can't allocate memory", "out of memory")


def is_memory_error(error: BaseException) -> bool:
    """Whether an exception means that an allocation failed."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in _PHRASES)


@contextmanager
def device_memory_errors() -> Iterator[None]:
    """Raise :class:`DeviceOutOfMemoryError` for a failed allocation; let the rest pass."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        first = (str(error).strip().splitlines() or ["no details"])[0]
        raise DeviceOutOfMemoryError(
            f"The device ran out of memory in a step: {first}",
            hint="Run fewer requests at once, or shorter ones, or give the KV cache less memory.",
        ) from error
