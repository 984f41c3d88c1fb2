"""What CANN and torch_npu say when an NPU cannot be used any more."""

from __future__ import annotations

import re

#: Errors of CANN's runtime after which the process has to give the NPU up: a scheduler that does
#: not answer, exceptions and time-outs of its cores, memory and links that failed, a driver that
#: hung up. From ``acl/error_codes/rt_error_codes.h``, by their names there.
_CODES = {
    507010: "LOST_HEARTBEAT",
    507013: "SYS_DMA",
    507014: "AICORE_TIMEOUT",
    507015: "AICORE_EXCEPTION",
    507016: "AICORE_TRAP_EXCEPTION",
    507017: "AICPU_TIMEOUT",
    507018: "AICPU_EXCEPTION",
    507033: "DEV_SETUP_ERROR",
    507034: "VECTOR_CORE_TIMEOUT",
    507035: "VECTOR_CORE_EXCEPTION",
    507036: "VECTOR_CORE_TRAP_EXCEPTION",
    507046: "STREAM_SYNC_TIMEOUT",
    507047: "EVENT_SYNC_TIMEOUT",
    507048: "FFTS_PLUS_TIMEOUT",
    507049: "FFTS_PLUS_EXCEPTION",
    507050: "FFTS_PLUS_TRAP_EXCEPTION",
    507053: "DEVICE_MEM_ERROR",
    507054: "HBM_MULTI_BIT_ECC_ERROR",
    507055: "SUSPECT_DEVICE_MEM_ERROR",
    507056: "LINK_ERROR",
    507899: "DRV_INTERNAL_ERROR",
    507901: "SOCKET_CLOSE",
}
#: What torch_npu says in place of some of them once its own queue has stopped.
_PHRASES = (
    "FORCE STOP",
    "HBM MULTI BIT ECC ERROR",
    "SUSPECT MEM ERROR",
    "SUSPECT REMOTE ERROR",
    "UCE ERROR",
)
_NUMBER = re.compile(r"(?<!\d)507\d{3}(?!\d)")


def says_lost(error: BaseException) -> bool:
    """Whether an exception's text says that the NPU is gone for this process."""
    text = str(error)
    numbers = {int(number) for number in _NUMBER.findall(text)}
    return not numbers.isdisjoint(_CODES) or any(phrase in text for phrase in _PHRASES)
