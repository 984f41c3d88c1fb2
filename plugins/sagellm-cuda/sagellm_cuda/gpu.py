"""A GPU, from whatever told of it: files, NVML, or its mere device node."""

from __future__ import annotations

from dataclasses import dataclass

from sagellm_torch.hardware import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A compute instance of a GPU in MIG mode, which CUDA sees as a device of its own."""

    uuid: str
    name: str = ""
    memory_total: int | None = None
    memory_free: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GPU:
    """What is known of one; empty or ``None`` where nothing told it."""

    #: On the PCI bus, as sysfs writes it: ``0000:01:00.0``.
    address: str = ""
    #: As ``nvidia-smi -L`` prints it: ``GPU-8932f937-d72c-4106-c12f-20bd9faed9f6``.
    uuid: str = ""
    name: str = ""
    #: The number of its device node, ``/dev/nvidia0``.
    minor: int | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    #: Compute capability, as (9, 0).
    capability: tuple[int, int] | None = None
    #: CUDA cores times their highest clock in MHz.
    speed: int | None = None
    #: Whether MIG mode is on: then only its instances compute.
    mig: bool = False
    instances: tuple[Instance, ...] = ()
    #: Why CUDA cannot use it.
    problem: Problem | None = None

    @property
    def physical_id(self) -> str:
        """The UUID, or the PCI address where that is not known."""
        return self.uuid or self.address
