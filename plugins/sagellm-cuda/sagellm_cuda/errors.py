"""What CUDA's errors mean for the process."""

from __future__ import annotations

#: After these a process cannot use the GPU any more, whatever it calls (cudaError in the CUDA
#: runtime's documentation: "This leaves the process in an inconsistent state").
_FATAL = (
    "unspecified launch failure",
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "misaligned address",
    "device-side assert triggered",
    "invalid program counter",
    "hardware stack error",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "the launch timed out and was terminated",
    "operation not supported on global/shared address space",
    "context is destroyed",
    "no cuda-capable device is detected",
    "gpu is lost",
)
#: Libraries that had no memory for what they need beside the tensors.
_NO_MEMORY = ("cublas_status_alloc_failed", "cudnn_status_alloc_failed")


def is_fatal(error: BaseException) -> bool:
    """Whether the GPU is gone for this process, as far as the error's words tell."""
    text = str(error).lower()
    return "cuda" in text and any(words in text for words in _FATAL)


def lacks_memory(error: BaseException) -> bool:
    """Whether a library says that it found no memory."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)
