"""Tensors on the simulated device, each with a hidden one on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch._ops import OpOverload

from .memory import Allocation


class SimTensor(torch.Tensor):
    """Shape, strides and type as torch sees them; the numbers are in :attr:`hidden`.

    Every operator on it comes to :func:`~.execution.execute`.
    """

    #: On the CPU, of the same shape, strides and type.
    hidden: torch.Tensor
    #: Held, so that memory is given back with the last tensor that looks into it.
    allocation: Allocation

    @staticmethod
    def __new__(cls, hidden: torch.Tensor, allocation: Allocation) -> SimTensor:
        """A tensor over a hidden one."""
        made: SimTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            hidden.size(),
            strides=hidden.stride(),
            storage_offset=hidden.storage_offset(),
            dtype=hidden.dtype,
            layout=hidden.layout,
            device=torch.device("sim", 0),
        )
        made.hidden = hidden
        made.allocation = allocation
        return made

    # Results are wrapped where they are made, not by their class.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every operator on tensors of the device."""
        from .execution import execute

        return execute(func, args, kwargs or {})

    # What torch refuses for any subclass, and a real device can.

    def tolist(self) -> Any:
        """Nested lists; a copy to the host."""
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Refused without ``force``, in torch's words for devices."""
        if not force:
            raise TypeError(
                "can't convert sim:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
                "tensor to host memory first."
            )
        return self.cpu().numpy()

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        # Not an operator: looking at a tensor while debugging must not change what is counted.
        return f"{self.hidden!r} on {self.device}"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 else repr(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("A tensor on sim:0 cannot be pickled: copy it to the host first.")

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        copied = self.clone()
        memo[id(self)] = copied
        return copied
