"""Linear layers through oneDNN, over weights laid out once for its kernels.

Measured on two AVX-512 cores of an AMD EPYC (float32, the shapes of a 135M-parameter model),
this is 2 to 4 times as fast as ``torch.nn.functional.linear`` at every batch from 1 to 512
rows: the BLAS inside torch does not make full use of that processor, oneDNN does.
"""

from __future__ import annotations

import torch

#: Batch size that weights are laid out for. Layouts for 1 row are slow for many; the one for
#: 16 is within a few percent of the best from 1 to 512 rows.
_LAYOUT_ROWS = 16


#: Activations that oneDNN applies to its product, and its name and kind of each.
_FUSED = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
    "swish": ("swish", ""),
}


def packing_available() -> bool:
    """Whether this torch has oneDNN's linear operators, and they work here."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    weight, ones, two = torch.eye(2, 3), torch.ones(1, 3), torch.ones(1, 2)
    try:
        return (
            torch.equal(PackedLinear(weight, None)(ones), two)
            and torch.equal(PackedLinear(weight, None, activation="relu")(ones), two)
            and torch.equal(PackedResidualLinear(weight, None)(ones, two), two + two)
        )
    except (AttributeError, RuntimeError):
        # Builds without the operators, or for processors that they do not support.
        return False


class PackedLinear:
    """A linear layer whose weight is kept only in oneDNN's own layout.

    :param weight: [out, in], float32.
    :param bias: [out], or ``None``.
    :param activation: applied to the product while it is in the processor's cache.
    """

    __slots__ = ("_bias", "_forward", "_kind", "_name", "_nbytes", "_packed")

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, *, activation: str | None = None
    ) -> None:
        self._packed = _pack(weight)
        self._bias = bias
        self._nbytes = weight.nbytes
        self._name, self._kind = _FUSED[activation] if activation else ("none", "")
        self._forward = torch.ops.mkldnn._linear_pointwise.default

    @property
    def weight(self) -> torch.Tensor:
        """The weight as it was, [out, in]: a copy."""
        return self._packed.to_dense()

    @property
    def bias(self) -> torch.Tensor | None:
        """[out], or ``None``."""
        return self._bias

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weight."""
        return self._nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``activation(x @ weight.T + bias)``, [T, in] -> [T, out]."""
        product: torch.Tensor = self._forward(
            x, self._packed, self._bias, self._name, [], self._kind
        )
        return product


class PackedResidualLinear:
    """A packed linear layer that adds its product to what is there already.

    :param weight: [out, in], float32.
    :param bias: [out], or ``None``.
    """

    __slots__ = ("_bias", "_forward", "_packed")

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._packed = _pack(weight)
        self._bias = bias
        self._forward = torch.ops.mkldnn._linear_pointwise.binary

    @property
    def weight(self) -> torch.Tensor:
        """The weight as it was, [out, in]: a copy."""
        return self._packed.to_dense()

    @property
    def bias(self) -> torch.Tensor | None:
        """[out], or ``None``."""
        return self._bias

    def __call__(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias + residual``, [T, in] and [T, out] -> [T, out]."""
        total: torch.Tensor = self._forward(x, residual, self._packed, self._bias, "add")
        return total


def _pack(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _LAYOUT_ROWS)
    return packed
