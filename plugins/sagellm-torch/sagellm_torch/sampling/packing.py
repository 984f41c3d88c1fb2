"""Numbers that the device is told of in one copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

#: Copies numbers of the host to the device, [n]: ``upload(values, dtype)``.
Upload = Callable[[Sequence[float], torch.dtype], torch.Tensor]


class Packing:
    """Lists of numbers of one type, put together here and taken apart on the device.

    Every copy costs the host about as much as a small kernel, whatever its size.
    """

    __slots__ = ("_dtype", "_parts", "_sizes", "_values")

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._values: list[float] = []
        self._sizes: list[int] = []
        self._parts: tuple[torch.Tensor, ...] = ()

    def add(self, values: Sequence[float]) -> int:
        """Add a list; its number for :meth:`__getitem__`."""
        self._values.extend(values)
        self._sizes.append(len(values))
        return len(self._sizes) - 1

    def upload(self, upload: Upload) -> None:
        """Copy all of them; nothing may be added afterwards."""
        if self._values:
            self._parts = torch.split(upload(self._values, self._dtype), self._sizes)
        self._values = []

    def __getitem__(self, number: int) -> torch.Tensor:
        """A list on the device, [n]; uploaded before, and not empty."""
        return self._parts[number]
