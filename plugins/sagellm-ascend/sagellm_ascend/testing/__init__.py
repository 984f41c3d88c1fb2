"""The adapter without an NPU: plain torch operators in the places of torch_npu's.

They have the same signatures, compute the same, and refuse what torch_npu's documentation rules
out, so that a call that an NPU would not take fails on any device.
"""

from __future__ import annotations

from .operators import StandInOperators, UndocumentedCall
from .recording import Call, RecordingOperators
from .runtime import StandInRuntime

__all__ = [
    "Call",
    "RecordingOperators",
    "StandInOperators",
    "StandInRuntime",
    "UndocumentedCall",
]
