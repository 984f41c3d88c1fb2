"""The CPU as a torch device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sagellm_torch import (
    DenseLinear,
    DeviceAdapter,
    DeviceMemory,
    DTypeChoice,
    Linear,
    ResidualLinear,
)

from sagellm_core.contract import ConfigurationError

from .footprint import tied_copy_bytes
from .memory import read_memory
from .packed_linear import PackedLinear, PackedResidualLinear, packing_available
from .processor import usable_threads

_ROOT = Path("/")


class CPUAdapter(DeviceAdapter):
    """Computes in float32, with as many threads as the process may use.

    :param options: ``threads`` (at least 1).
    :raises ConfigurationError: an option is unknown, or ``threads`` is not a positive integer.
    """

    option_names = ("threads",)
    #: What a pass touches stays in the processor's caches. Measured on two cores of an AMD EPYC
    #: with a 22M-parameter encoder: 16,384 tokens a pass took 1.6 times as long.
    embedding_tokens = 1024

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__("cpu", options)
        self.threads = self._threads()
        torch.set_num_threads(self.threads)
        self._packing = packing_available()

    def _threads(self) -> int:
        asked = self.options.get("threads")
        if asked is None:
            return usable_threads(_ROOT)
        if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
            raise ConfigurationError(
                f"threads={asked!r} is not valid.", hint="threads is an integer of at least 1."
            )
        return asked

    def memory(self) -> DeviceMemory | None:
        """What the machine has, or the control group allows."""
        found = read_memory(_ROOT)
        return None if found is None else DeviceMemory(found.total, found.available)

    def cache_budget(self, free: int, enough: int) -> int:
        """A quarter of what is available: other programs live in this memory too."""
        return min(free // 4, enough)

    def choose_dtype(self, asked: str, stored: torch.dtype | None) -> DTypeChoice:
        """Always float32: half precision is slower on most CPUs, and less exact."""
        if asked in ("auto", "float32"):
            return DTypeChoice(torch.float32)
        return DTypeChoice(torch.float32, f"The CPU computes in float32; {asked} was asked for.")

    def linear(
        self, weight: torch.Tensor, bias: torch.Tensor | None, *, shared: bool = False
    ) -> Linear:
        """Packed for oneDNN where it is there."""
        if not self._packs(weight.nbytes, shared=shared):
            return DenseLinear(weight, bias, shared=shared)
        return PackedLinear(weight, bias)

    def activated_linear(
        self, weight: torch.Tensor, bias: torch.Tensor | None, activation: str
    ) -> Linear:
        """Packed, with the activation fused, where oneDNN is there."""
        if not self._packing:
            return super().activated_linear(weight, bias, activation)
        return PackedLinear(weight, bias, activation=activation)

    def residual_linear(self, weight: torch.Tensor, bias: torch.Tensor | None) -> ResidualLinear:
        """Packed, with the addition fused, where oneDNN is there."""
        if not self._packing:
            return super().residual_linear(weight, bias)
        return PackedResidualLinear(weight, bias)

    def argmax(self, logits: torch.Tensor) -> torch.Tensor:
        """By NumPy, which has vector instructions for it: 10 times as fast as torch's."""
        return torch.from_numpy(logits.numpy().argmax(-1))

    def padded_tokens(self, count: int) -> int:
        """Up to 1/16 more: oneDNN takes 1 to 3 ms to make a kernel for a new number of rows.

        16 numbers in each power of two are few enough for all of them to stay in its cache.
        """
        if not self._packing:
            return count
        step = max(8, 1 << max(0, count.bit_length() - 5))
        return -(-count // step) * step

    def linear_copies(self, weight_bytes: int, *, shared: bool) -> int:
        """A packed copy of a tied output layer stands beside the embedding."""
        return tied_copy_bytes(weight_bytes) if shared and self._packing else 0

    def _packs(self, weight_bytes: int, *, shared: bool) -> bool:
        return self._packing and (not shared or tied_copy_bytes(weight_bytes) > 0)
