"""An NPU that is none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch
from sagellm_torch import DeviceMemory

from sagellm_ascend.operators import Operators

from .operators import StandInOperators


@dataclass(slots=True)
class StandInRuntime:
    """What :class:`~sagellm_ascend.runtime.NPURuntime` is to an NPU; all of it can be chosen."""

    operators: Operators | None = field(default_factory=StandInOperators)
    chip: str = "Ascend910B3"
    bfloat16: bool = True
    #: float32 too, so that answers can be compared with those of other devices.
    attention_types: Collection[torch.dtype] = (torch.float16, torch.bfloat16, torch.float32)
    writes_caches: bool = True
    #: How often the device was waited for, and asked to give memory back.
    synchronized: int = 0
    released: int = 0

    def memory(self) -> DeviceMemory | None:
        """Unknown."""
        return None

    def synchronize(self) -> None:
        """Count it."""
        self.synchronized += 1

    def download(self, tensors: Sequence[torch.Tensor]) -> Callable[[], Sequence[torch.Tensor]]:
        """Copy when they are waited for."""
        return lambda: [tensor.cpu() for tensor in tensors]

    def release(self) -> None:
        """Count it."""
        self.released += 1
