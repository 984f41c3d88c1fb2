"""Who asked for something, in terms of the code under test."""

from __future__ import annotations

import sys
from types import FrameType

#: Code that stands between the one who asks and the device.
_BETWEEN = ("torch", __package__)


def calling_place() -> str:
    """``module:line in function`` of the innermost caller that is not torch or this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", "?"))
        if not any(module == name or module.startswith(f"{name}.") for name in _BETWEEN):
            return f"{module}:{frame.f_lineno} in {frame.f_code.co_name}"
        frame = frame.f_back
    return "unknown"
