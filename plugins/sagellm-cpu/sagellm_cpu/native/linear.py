"""Linear layers through the native kernels."""

from __future__ import annotations

import ctypes

import torch

from sagellm_core.contract import DeviceOutOfMemoryError

from .library import NativePool
from .weight import NativeWeight


class NativeLinear:
    """A linear layer over a packed weight: the kit's ``Linear``."""

    __slots__ = ("_pool", "weight")

    def __init__(self, weight: NativeWeight, pool: NativePool) -> None:
        self.weight = weight
        self._pool = pool

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weight."""
        return self.weight.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias``, float32 [T, in] -> [T, out].

        :raises DeviceOutOfMemoryError: no memory for the inputs that are rounded to int8.
        """
        x = x.contiguous()
        y = torch.empty(x.shape[0], self.weight.out_features)
        failed = self._pool.library.c.sagellm_linear(
            self._pool.handle,
            ctypes.byref(self.weight.structure),
            x.data_ptr(),
            self.weight.in_features,
            x.shape[0],
            y.data_ptr(),
            self.weight.out_features,
            0,
        )
        if failed:
            raise DeviceOutOfMemoryError(
                f"There is no memory for {x.shape[0]} rows of {x.shape[1]} rounded inputs.",
                hint="Lower max_prefill_tokens or max_batch_tokens, or free memory.",
            )
        return y
