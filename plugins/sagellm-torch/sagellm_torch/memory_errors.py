"""torch's many ways of saying that memory ran out."""

from __future__ import annotations

import torch

#: What allocators without an exception class of their own write into a RuntimeError.
_PHRASES = ("not enough memory", "can't allocate memory", "out of memory")


def is_memory_error(error: BaseException) -> bool:
    """Whether an exception means that an allocation failed."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in _PHRASES)
