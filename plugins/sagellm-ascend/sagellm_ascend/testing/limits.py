"""Limits of an operator, as its documentation states them."""

from __future__ import annotations

import torch


class UndocumentedCall(Exception):
    """A call that torch_npu's documentation rules out."""


def require(holds: bool, otherwise: str) -> None:
    """:raises UndocumentedCall: it does not hold; ``otherwise`` says what is the case."""
    if not holds:
        raise UndocumentedCall(otherwise)


def require_contiguous(*tensors: torch.Tensor) -> None:
    """:raises UndocumentedCall: one of them has strides of its own, which no operator takes."""
    for tensor in tensors:
        require(
            tensor.is_contiguous(),
            f"a tensor {tuple(tensor.shape)} has the strides {tensor.stride()}",
        )


def require_type(tensor: torch.Tensor, *types: torch.dtype) -> None:
    """:raises UndocumentedCall: the tensor is of another type."""
    require(tensor.dtype in types, f"a tensor is {tensor.dtype}")
