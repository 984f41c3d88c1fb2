"""The adapter without an NPU: plain torch operators in the places of torch_npu's.

They have the same signatures, compute the same, and refuse what torch_npu's documentation rules
out, so that a call that an NPU would not take fails on any device. :mod:`.provider` is a provider
over them. Importing this imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .limits import UndocumentedCall
    from .operators import StandInOperators
    from .recording import Call, RecordingOperators
    from .runtime import StandInRuntime

_HOME = {
    "UndocumentedCall": "limits",
    "StandInOperators": "operators",
    "Call": "recording",
    "RecordingOperators": "recording",
    "StandInRuntime": "runtime",
}

__all__ = [
    "Call",
    "RecordingOperators",
    "StandInOperators",
    "StandInRuntime",
    "UndocumentedCall",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{home}", __name__), name)
