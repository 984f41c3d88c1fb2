"""Linear layers over weights of few bits, before there are kernels for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from sagellm_torch import Linear
from sagellm_torch.quantization import QuantizedWeight


class CodedLinear:
    """Computes with the numbers that codes stand for, and keeps the codes for native kernels.

    torch's own operators over weights of few bits are slower than float32 on processors, or round
    inputs more coarsely (measured: 2 to 10 times as slow from 8 rows on).

    :param parts: the layers, one below the other.
    :param bias: of all of them, [out], or ``None``.
    :param numbers: the same layer over the numbers.
    """

    __slots__ = ("_numbers", "bias", "exact", "parts")

    def __init__(
        self,
        parts: Sequence[QuantizedWeight],
        bias: torch.Tensor | None,
        numbers: Linear,
        *,
        exact: bool,
    ) -> None:
        self.parts = parts
        self.bias = bias
        self.exact = exact
        self._numbers = numbers

    @property
    def nbytes(self) -> int:
        """Bytes of the codes and of the numbers."""
        return self._numbers.nbytes + sum(part.nbytes for part in self.parts)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias``, float32 [T, in] -> [T, out]."""
        return self._numbers(x)


class PendingLinear:
    """A layer of few bits that becomes native when there is a library, at its next call.

    For encoders, whose layers are few and small enough to be converted between two of them.

    :param native: makes the native layer, or gives ``None`` as long as it cannot.
    :param numbers: the same layer over the numbers that its codes stand for.
    """

    __slots__ = ("_layer", "_native")

    def __init__(self, native: Callable[[], Linear | None], numbers: Linear) -> None:
        self._native: Callable[[], Linear | None] | None = native
        self._layer = numbers

    @property
    def nbytes(self) -> int:
        """Bytes of the layer that computes."""
        return self._layer.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias``, float32 [T, in] -> [T, out]."""
        make = self._native  # another thread may exchange it meanwhile
        if make is not None:
            native = make()
            if native is not None:
                # The codes, which the maker holds, go with it.
                self._layer, self._native = native, None
        return self._layer(x)
