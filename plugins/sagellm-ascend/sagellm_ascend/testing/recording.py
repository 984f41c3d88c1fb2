"""What an adapter called, to be held against the real operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sagellm_ascend.operators import Operators


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator. Tensors are kept on the meta device: their shapes and types."""

    name: str
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    #: What it gave: a tensor, a tuple of them, or ``None``.
    result: Any

    def repeat(self, operator: Callable[..., Any]) -> Any:
        """Call another operator alike, on the meta device."""
        return operator(*self.arguments, **self.named)


class RecordingOperators:
    """A table of operators that keeps a note of every call.

    :param operators: those that compute.
    """

    def __init__(self, operators: Operators) -> None:
        self._operators = operators
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operator = getattr(self._operators, name)

        def call(*arguments: Any, **named: Any) -> Any:
            result = operator(*arguments, **named)
            self.calls.append(
                Call(
                    name,
                    tuple(_outline(each) for each in arguments),
                    {key: _outline(each) for key, each in named.items()},
                    _outline(result),
                )
            )
            return result

        return call


def _outline(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        # Strides stay, so that what is not contiguous can be told.
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, (tuple, list)):
        return type(value)(_outline(each) for each in value)
    return value
