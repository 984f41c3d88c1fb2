"""A weight of few bits, as any device can be handed it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch


def unpack_pairs(codes: torch.Tensor) -> torch.Tensor:
    """Codes of 4 bits, two to a byte, uint8 [out, n] -> uint8 [out, 2 n]: low halves first."""
    if sys.byteorder != "little":
        return torch.stack((codes & 15, codes >> 4), dim=-1).flatten(-2)
    # Spread over 16 bits a pair lies in memory as its two codes: three times as fast as to stack.
    wide = codes.contiguous().to(torch.int16)
    return (wide | wide << 4).bitwise_and_(0x0F0F).view(torch.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedWeight:
    """``weight[o, i] = scale * code + min``, with one scale and minimum for a group of inputs.

    Biases and norms are not part of it.
    """

    #: 8 or 4.
    bits: int
    #: Inputs that share a scale: all of a row, or a multiple of 32 that divides it.
    group: int
    #: 8 bits: int8 [out, in]. 4 bits: uint8 [out, in / 2], 0 to 15, even inputs in the low halves.
    codes: torch.Tensor
    #: float32 [out, in / group].
    scales: torch.Tensor
    #: Like the scales; ``None`` where every minimum is zero.
    mins: torch.Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs."""
        out, stored = self.codes.shape
        return out, stored * (2 if self.bits == 4 else 1)

    @property
    def nbytes(self) -> int:
        """Bytes of all its tensors."""
        mins = 0 if self.mins is None else self.mins.nbytes
        return self.codes.nbytes + self.scales.nbytes + mins

    def dequantise(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The numbers that it stands for, [out, in]; each product and sum rounded to float32."""
        out, inputs = self.shape
        codes = unpack_pairs(self.codes) if self.bits == 4 else self.codes
        numbers = codes.reshape(out, inputs // self.group, self.group).float()
        numbers.mul_(self.scales.unsqueeze(-1))
        if self.mins is not None:
            numbers.add_(self.mins.unsqueeze(-1))
        return numbers.view(out, inputs).to(dtype)

    def reordered(self, reorder: Callable[[torch.Tensor], torch.Tensor]) -> QuantizedWeight:
        """The same rows in another order, or some of them.

        :param reorder: takes [out, ...] and gives rows of it.
        """
        return QuantizedWeight(
            bits=self.bits,
            group=self.group,
            codes=reorder(self.codes),
            scales=reorder(self.scales),
            mins=None if self.mins is None else reorder(self.mins),
        )

    def split(self, sizes: list[int]) -> list[QuantizedWeight]:
        """Layers that are stored one below the other, by their numbers of outputs."""
        mins = [None] * len(sizes) if self.mins is None else torch.split(self.mins, sizes)
        parts = zip(
            torch.split(self.codes, sizes), torch.split(self.scales, sizes), mins, strict=True
        )
        return [
            QuantizedWeight(bits=self.bits, group=self.group, codes=codes, scales=scales, mins=low)
            for codes, scales, low in parts
        ]

    def to(self, device: torch.device) -> QuantizedWeight:
        """The same on a device."""
        return self.reordered(lambda tensor: tensor.to(device))
