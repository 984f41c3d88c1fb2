"""An NVML in place of NVIDIA's: the functions of nvidia-ml-py over GPUs that a test describes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

_GIB = 2**30


class NVMLError(Exception):
    """As nvidia-ml-py raises it: a code, and the library's words."""

    def __init__(self, value: int, words: str) -> None:
        super().__init__(words)
        self.value = value


NOT_SUPPORTED = NVMLError(3, "Not Supported")


@dataclass
class FakeGPU:
    """What the library would say; an error where it would raise one."""

    bus: str = "00000000:3B:00.0"
    uuid: str = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
    name: Any = "NVIDIA H100 80GB HBM3"
    total: int = 80 * _GIB
    free: int = 79 * _GIB
    capability: tuple[int, int] = (9, 0)
    minor: int = 0
    cores: int = 16896
    clock: int = 1980
    mig: bool = False
    instances: Sequence[FakeGPU] = ()
    compute_mode: int = 0
    handle_error: NVMLError | None = None
    memory_error: NVMLError | None = None


@dataclass
class _Memory:
    total: int
    free: int


@dataclass
class _PciInfo:
    busId: Any


class FakeNVML:
    """A library with these GPUs, and ways to fail."""

    NVMLError = NVMLError

    def __init__(
        self,
        gpus: Sequence[FakeGPU] = (),
        *,
        driver: Any = "580.65.06",
        cuda: int = 13000,
        init_error: Exception | None = None,
        seconds: float = 0,
    ) -> None:
        self._gpus, self._driver, self._cuda = gpus, driver, cuda
        self._init_error, self._seconds = init_error, seconds
        #: Calls of nvmlInit that nvmlShutdown has not answered.
        self.open = 0

    def nvmlInit(self) -> None:
        time.sleep(self._seconds)
        if self._init_error is not None:
            raise self._init_error
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> Any:
        return self._driver

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return self._cuda

    def nvmlDeviceGetCount(self) -> int:
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGPU:
        gpu = self._gpus[index]
        if gpu.handle_error is not None:
            raise gpu.handle_error
        return gpu

    def nvmlDeviceGetPciInfo(self, gpu: FakeGPU) -> _PciInfo:
        return _PciInfo(gpu.bus)

    def nvmlDeviceGetUUID(self, gpu: FakeGPU) -> str:
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu: FakeGPU) -> Any:
        return gpu.name

    def nvmlDeviceGetMinorNumber(self, gpu: FakeGPU) -> int:
        return gpu.minor

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGPU) -> _Memory:
        if gpu.memory_error is not None:
            raise gpu.memory_error
        return _Memory(gpu.total, gpu.free)

    def nvmlDeviceGetCudaComputeCapability(self, gpu: FakeGPU) -> tuple[int, int]:
        return gpu.capability

    def nvmlDeviceGetComputeMode(self, gpu: FakeGPU) -> int:
        return gpu.compute_mode

    def nvmlDeviceGetNumGpuCores(self, gpu: FakeGPU) -> int:
        return gpu.cores

    def nvmlDeviceGetMaxClockInfo(self, gpu: FakeGPU, kind: int) -> int:
        assert kind == 1, "the clock of the multiprocessors"
        return gpu.clock

    def nvmlDeviceGetMigMode(self, gpu: FakeGPU) -> list[int]:
        if gpu.capability < (8, 0):
            raise NOT_SUPPORTED
        return [int(gpu.mig), int(gpu.mig)]

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGPU) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGPU, index: int) -> FakeGPU:
        # Instances need not stand side by side.
        place, beside = divmod(index, 2)
        if beside or place >= len(gpu.instances):
            raise NVMLError(6, "Not Found")
        return gpu.instances[place]


@pytest.fixture
def fake_gpu() -> Callable[..., FakeGPU]:
    """Makes a GPU for :func:`fake_nvml`."""
    return FakeGPU


@pytest.fixture
def fake_nvml() -> Callable[..., FakeNVML]:
    """Makes an NVML."""
    return FakeNVML


@pytest.fixture
def nvml_error() -> Callable[[int, str], NVMLError]:
    """Makes an error of NVML, from its code and words."""
    return NVMLError
