"""What NVIDIA's management library tells: memory, compute capability, MIG instances.

It asks the driver and initialises no CUDA. It ignores CUDA_VISIBLE_DEVICES, so whoever joins its
answers with anything else goes by UUID or PCI address. Whatever goes wrong is told in the report.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Thread
from typing import Any, TypeVar

from sagellm_torch.hardware import Problem
from sagellm_torch.hardware.pci import normal_address

from .gpu import GPU, Instance

T = TypeVar("T")

#: Seconds after which the library is left to itself. Without persistence mode the driver starts
#: each GPU anew for it, seconds each; a probe as a whole has five.
PATIENCE = 2.5

#: Codes of nvmlReturn_t, from nvml.h, after which CUDA does not work either.
_FATAL = {
    4: Problem(
        "the driver refuses it (NVML: insufficient permissions)",
        "Give this user, or this container, the device nodes below /dev/nvidia*.",
    ),
    9: Problem(
        "its kernel module is not loaded (NVML: driver not loaded)",
        "Load it: sudo modprobe nvidia.",
    ),
    18: Problem(
        "the driver's library and its kernel module are of different versions",
        "Reboot: the driver was updated while it was loaded.",
    ),
}
_GPU_IS_LOST = 15
_LOST = Problem("it has fallen off the bus (NVML: GPU is lost)", "Reboot the machine.")
_PROHIBITED = Problem(
    "its compute mode is Prohibited", "Allow computing: sudo nvidia-smi -c DEFAULT."
)
#: nvmlComputeMode_t, and nvmlClockType_t.
_COMPUTE_MODE_PROHIBITED = 2
_CLOCK_SM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NVMLReport:
    """The library's answers."""

    driver: str = ""
    #: The newest CUDA that the driver's library runs, as (12, 4).
    cuda: tuple[int, int] | None = None
    gpus: tuple[GPU, ...] = ()
    #: How many more the driver has that this process may not use.
    refused: int = 0
    #: Why there are no answers; empty when there are.
    failure: str = ""
    #: What that means for every GPU, where CUDA cannot work either.
    problem: Problem | None = None


#: Of a root that is not the machine's own, where it would answer for the wrong one; and of a
#: machine without a driver.
NOT_ASKED = NVMLReport(failure="NVML was not asked")


def load_nvml() -> Any | None:
    """The module of nvidia-ml-py; ``None`` where it is not installed."""
    try:
        return importlib.import_module("pynvml")
    except Exception:  # whatever stands in its place is none of our business
        return None


def ask_nvml(nvml: Any | None, patience: float = PATIENCE) -> NVMLReport:
    """Ask everything at once, for at most ``patience`` seconds.

    :param nvml: the module of nvidia-ml-py or something with its functions; ``None``: missing.
    """
    if nvml is None:
        return NVMLReport(failure="nvidia-ml-py is not installed")
    answers: list[NVMLReport] = []
    # A thread that hangs in the driver cannot be ended; it must not keep the process either.
    thread = Thread(target=lambda: answers.append(_ask(nvml)), name="nvml", daemon=True)
    thread.start()
    thread.join(patience)
    if not answers:
        return NVMLReport(failure=f"NVML did not answer within {patience:g} s")
    return answers[0]


def _ask(nvml: Any) -> NVMLReport:
    try:
        nvml.nvmlInit()
    except Exception as error:
        return NVMLReport(failure=_said(error), problem=_FATAL.get(_code(error) or 0))
    try:
        found = [_found(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
        return NVMLReport(
            driver=_text(_try(nvml.nvmlSystemGetDriverVersion)),
            cuda=_cuda_version(_try(lambda: nvml.nvmlSystemGetCudaDriverVersion_v2())),
            gpus=tuple(gpu for gpu in found if gpu is not None),
            refused=found.count(None),
        )
    except Exception as error:
        return NVMLReport(failure=_said(error))
    finally:
        _try(nvml.nvmlShutdown)


def _found(nvml: Any, index: int) -> GPU | None:
    """``None`` for one that this process may not use: a scheduler gave it to another."""
    try:
        return _gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(index))
    except Exception as error:
        # A lost one has no handle and so no name here; procfs knows it still.
        return GPU(problem=_LOST) if _code(error) == _GPU_IS_LOST else None


def _gpu(nvml: Any, handle: Any) -> GPU:
    memory, problem = None, None
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except Exception as error:  # devices that share the host's memory have none of their own
        problem = _LOST if _code(error) == _GPU_IS_LOST else None
    if _try(lambda: nvml.nvmlDeviceGetComputeMode(handle)) == _COMPUTE_MODE_PROHIBITED:
        problem = problem or _PROHIBITED
    cores = _try(lambda: nvml.nvmlDeviceGetNumGpuCores(handle))
    clock = _try(lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, _CLOCK_SM))
    mode = _try(lambda: nvml.nvmlDeviceGetMigMode(handle))
    mig = bool(mode and mode[0])
    bus = _try(lambda: nvml.nvmlDeviceGetPciInfo(handle))
    capability = _try(lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
    return GPU(
        address=normal_address(_text(bus.busId)) if bus else "",
        uuid=_text(_try(lambda: nvml.nvmlDeviceGetUUID(handle))),
        name=_text(_try(lambda: nvml.nvmlDeviceGetName(handle))),
        minor=_try(lambda: nvml.nvmlDeviceGetMinorNumber(handle)),
        memory_total=int(memory.total) if memory else None,
        memory_free=int(memory.free) if memory else None,
        capability=(int(capability[0]), int(capability[1])) if capability else None,
        speed=int(cores * clock) if cores and clock else None,
        mig=mig,
        instances=tuple(_instances(nvml, handle)) if mig else (),
        problem=problem,
    )


def _instances(nvml: Any, handle: Any) -> Iterator[Instance]:
    for index in range(_try(lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0):
        instance = _try(_bound(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index))
        if instance is None:
            continue  # places between instances are empty
        memory = _try(_bound(nvml.nvmlDeviceGetMemoryInfo, instance))
        yield Instance(
            uuid=_text(_try(_bound(nvml.nvmlDeviceGetUUID, instance))),
            name=_text(_try(_bound(nvml.nvmlDeviceGetName, instance))),
            memory_total=int(memory.total) if memory else None,
            memory_free=int(memory.free) if memory else None,
        )


def _bound(function: Callable[..., T], *arguments: Any) -> Callable[[], T]:
    return lambda: function(*arguments)


def _try(question: Callable[[], T]) -> T | None:
    """An answer, or ``None``: an older driver or library may not know the question."""
    try:
        return question()
    except Exception:
        return None


def _text(value: Any) -> str:
    """Older releases of nvidia-ml-py answer with bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value or "")


def _cuda_version(number: int | None) -> tuple[int, int] | None:
    """12040 is CUDA 12.4."""
    return None if not number else (number // 1000, number % 1000 // 10)


def _code(error: Exception) -> int | None:
    value = getattr(error, "value", None)
    return value if isinstance(value, int) else None


def _said(error: Exception) -> str:
    return f"NVML: {str(error) or type(error).__name__}"
