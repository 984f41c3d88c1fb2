"""Linear layers over weights of few bits, before there are kernels for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter

import torch
import torch.nn.functional as F
from sagellm_torch.quantization import QuantizedWeight

#: Outputs whose weights are numbers at a time: some megabytes, which stay in the caches.
_ROWS = 1024


class CodedLinear:
    """Widens its codes to numbers in each call, part by part, and computes with those.

    Until there are kernels this costs time, and no memory: the numbers of all layers would take
    several times as much as their codes. torch's own operators over weights of few bits are slower
    than float32 on processors, or round inputs more coarsely (measured: 2 to 10 times as slow from
    8 rows on).

    :param parts: the layers, one below the other.
    :param bias: of all of them, [out], or ``None``.
    :param exact: whether the kernels are to leave inputs floats.
    """

    __slots__ = ("bias", "exact", "parts")

    def __init__(
        self, parts: Sequence[QuantizedWeight], bias: torch.Tensor | None, *, exact: bool
    ) -> None:
        self.parts = parts
        self.bias = bias
        self.exact = exact

    @property
    def nbytes(self) -> int:
        """Bytes of the codes."""
        return sum(part.nbytes for part in self.parts)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias``, float32 [T, in] -> [T, out]."""
        products = [F.linear(x, rows.dequantise()) for part in self.parts for rows in _pieces(part)]
        y = torch.cat(products, dim=-1)
        return y if self.bias is None else y.add_(self.bias)


class CodedEmbedding:
    """An embedding whose rows are kept as codes, [vocab, hidden]."""

    __slots__ = ("_weight",)

    def __init__(self, weight: QuantizedWeight) -> None:
        self._weight = weight

    def lookup(self, tokens: torch.Tensor) -> torch.Tensor:
        """[T] of int64 -> [T, hidden] of float32."""
        return self._weight.reordered(itemgetter(tokens)).dequantise()


def _pieces(weight: QuantizedWeight) -> Iterator[QuantizedWeight]:
    for first in range(0, weight.shape[0], _ROWS):
        yield weight.reordered(itemgetter(slice(first, first + _ROWS)))
