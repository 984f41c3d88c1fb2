"""Linear layers as the decoder calls them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F


class Linear(Protocol):
    """``x [T, in] -> [T, out]``. What is inside (packed, quantised, ...) is the device's."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds on the device, beyond tensors it shares."""
        ...

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias``."""
        ...


class EmbeddingTable(Protocol):
    """The rows of tokens, in whatever form a device keeps them."""

    def lookup(self, tokens: torch.Tensor) -> torch.Tensor:
        """[T] -> [T, hidden], in the type that the device computes in."""
        ...


class DenseEmbedding:
    """An embedding over a plain table, [vocab, hidden]."""

    __slots__ = ("table",)

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table

    def lookup(self, tokens: torch.Tensor) -> torch.Tensor:
        """[T] -> [T, hidden]."""
        return F.embedding(tokens, self.table)


class ResidualLinear(Protocol):
    """A linear layer that adds its product to what is there already."""

    def __call__(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias + residual``, [T, out]; ``residual`` is left as it is."""
        ...


class ActivatedLinear:
    """A linear layer and an activation after it."""

    __slots__ = ("_activation", "linear")

    def __init__(self, linear: Linear, activation: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.linear = linear
        self._activation = activation

    @property
    def nbytes(self) -> int:
        """Bytes of the layer."""
        return self.linear.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``activation(x @ weight.T + bias)``."""
        return self._activation(self.linear(x))


class AddedLinear:
    """A linear layer and an addition after it."""

    __slots__ = ("linear",)

    def __init__(self, linear: Linear) -> None:
        self.linear = linear

    def __call__(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias + residual``."""
        return self.linear(x).add_(residual)


class DenseLinear:
    """A linear layer over a plain weight.

    :param weight: [out, in].
    :param bias: [out], or ``None``.
    :param shared: the weight is another layer's too, and is counted there.
    """

    __slots__ = ("_bias", "_shared", "_weight")

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None = None, *, shared: bool = False
    ) -> None:
        self._weight = weight
        self._bias = bias
        self._shared = shared

    @property
    def weight(self) -> torch.Tensor:
        """[out, in]."""
        return self._weight

    @property
    def bias(self) -> torch.Tensor | None:
        """[out], or ``None``."""
        return self._bias

    @property
    def nbytes(self) -> int:
        """Bytes of the weight, unless it is shared."""
        return 0 if self._shared else self._weight.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias``."""
        return F.linear(x, self._weight, self._bias)


def merge(
    weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor | None]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Several layers over one input as a single one: one product in place of many.

    :param weights: each [out_i, in].
    :param biases: each [out_i]; all of them ``None``, or none.
    :returns: [sum of out_i, in] and [sum of out_i].
    """
    weight = weights[0] if len(weights) == 1 else torch.cat(tuple(weights))
    return weight, merge_biases(biases)


def merge_biases(biases: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """The biases of merged layers, [sum of out_i]; ``None`` where none has one."""
    present = [bias for bias in biases if bias is not None]
    if not present:
        return None
    assert len(present) == len(biases), "either all merged layers have a bias or none"
    return present[0] if len(present) == 1 else torch.cat(present)
