"""Weights in the layout of the native kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from enum import IntEnum

import torch
from sagellm_torch.quantization import QuantizedWeight

from .huge_pages import empty_bytes
from .library import NativeLibrary
from .structures import WeightStructure


class Format(IntEnum):
    """How a weight is stored, as numbered in ``src/linear.h``."""

    FLOAT32 = 0
    FLOAT16 = 1
    BFLOAT16 = 2
    CODES8 = 3
    CODES4 = 4


class Arithmetic(IntEnum):
    """What inputs are multiplied in."""

    FLOAT = 0
    INT8 = 1


_DENSE = {
    torch.float32: Format.FLOAT32,
    torch.float16: Format.FLOAT16,
    torch.bfloat16: Format.BFLOAT16,
}


#: Inputs whose products of 8-bit codes can be summed in int32: ``linear.h``.
LONGEST_GROUP = 131_072


class NativeWeight:
    """A packed weight, [out, in]. It owns the memory that :attr:`structure` points to.

    Made by :func:`pack_dense` and :func:`pack_codes`.
    """

    __slots__ = ("_bias", "_data", "_mins", "_scales", "library", "structure")

    def __init__(
        self,
        library: NativeLibrary,
        format: Format,
        arithmetic: Arithmetic,
        shape: tuple[int, int, int],
        *,
        scales: torch.dtype | None,
        mins: bool,
        bias: torch.Tensor | None,
    ) -> None:
        out, inputs, group = shape
        self.library = library
        size = library.c.sagellm_packed_data_bytes(format, out, inputs, group)
        self._data = empty_bytes(size)
        count = library.c.sagellm_packed_scale_count(format, out, inputs, group)
        self._scales = None if scales is None else _empty(count, scales)
        self._mins = _empty(count, scales) if scales is not None and mins else None
        self._bias = None if bias is None else bias.to(torch.float32).contiguous()
        scale_format = _DENSE[scales or torch.float32]
        self._describe(format, arithmetic, scale_format, out, inputs, group)

    @classmethod
    def restored(
        cls, library: NativeLibrary, fields: Sequence[int], tensors: Mapping[str, torch.Tensor]
    ) -> NativeWeight:
        """A weight that was packed before.

        :param fields: what :attr:`fields` was. ``tensors``: what :meth:`tensors` gave, each at a
            multiple of 64 bytes.
        :raises ValueError: they do not fit together.
        """
        kind, arithmetic, scale_format, out, inputs, group = fields
        weight = cls.__new__(cls)
        weight.library = library
        weight._data = tensors["data"]
        weight._scales = tensors.get("scales")
        weight._mins = tensors.get("mins")
        weight._bias = tensors.get("bias")
        counts = [
            library.c.sagellm_packed_data_bytes(kind, out, inputs, group),
            library.c.sagellm_packed_scale_count(kind, out, inputs, group),
        ]
        scales = weight._scales
        coded = kind in (Format.CODES8, Format.CODES4)
        if weight._data.numel() != counts[0] or coded != (scales is not None):
            raise ValueError("packed weights of another layout")
        for part in (scales, weight._mins):
            if part is None:
                continue
            if part.numel() != counts[1] or _DENSE.get(part.dtype) != scale_format:
                raise ValueError("packed weights of another layout")
        if weight._bias is not None and weight._bias.numel() != out:
            raise ValueError("a bias of another size")
        weight._describe(kind, arithmetic, scale_format, out, inputs, group)
        return weight

    def _describe(self, *fields: int) -> None:
        parts = (self._data, self._scales, self._mins, self._bias)
        self.structure = WeightStructure(*fields, *map(_address, parts))

    @property
    def fields(self) -> list[int]:
        """Format, arithmetic, format of the scales, outputs, inputs and group."""
        made = self.structure
        return [
            made.format,
            made.arithmetic,
            made.scale_format,
            made.out,
            made.in_,
            made.group,
        ]

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that it holds, by name."""
        held = {
            "data": self._data,
            "scales": self._scales,
            "mins": self._mins,
            "bias": self._bias,
        }
        return {name: tensor for name, tensor in held.items() if tensor is not None}

    @property
    def nbytes(self) -> int:
        """Bytes of memory, without the bias."""
        tensors = (self._data, self._scales, self._mins)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    @property
    def out_features(self) -> int:
        """Number of outputs."""
        return int(self.structure.out)

    @property
    def in_features(self) -> int:
        """Number of inputs."""
        return int(self.structure.in_)

    def fill(
        self,
        first: int,
        source: torch.Tensor,
        scales: torch.Tensor | None = None,
        mins: torch.Tensor | None = None,
    ) -> None:
        """Pack outputs ``first`` on; every output is packed once.

        Scales and minima are rounded to the type in which this weight keeps them.
        """
        made = self.structure
        numbers = [
            None if part is None or self._scales is None else part.to(self._scales.dtype)
            for part in (scales, mins)
        ]
        parts = [None if part is None else part.contiguous() for part in (source, *numbers)]
        self.library.c.sagellm_pack(
            made.format,
            made.scale_format,
            made.out,
            made.in_,
            made.group,
            first,
            source.shape[0],
            *map(_address, parts),
            made.data,
            made.scales,
            made.mins,
        )

    def unpack_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Some rows as numbers, [n] of int64 -> [n, in] of float32."""
        rows = rows.contiguous()
        out = torch.empty(rows.numel(), self.in_features)
        self.library.c.sagellm_unpack_rows(
            ctypes.byref(self.structure), rows.data_ptr(), rows.numel(), out.data_ptr()
        )
        return out


def pack_codes(
    library: NativeLibrary,
    parts: Sequence[QuantizedWeight],
    bias: torch.Tensor | None,
    *,
    exact: bool,
) -> NativeWeight:
    """Weights of few bits, alike in bits, group and minima, one below the other.

    :param exact: inputs stay floats; else they are rounded to int8, one scale for each group.
    """
    first = parts[0]
    out, inputs = sum(part.shape[0] for part in parts), first.shape[1]
    # Sums of products of a group are int32: a longer row computes in floats.
    exact = exact or first.group > LONGEST_GROUP
    weight = NativeWeight(
        library,
        Format.CODES4 if first.bits == 4 else Format.CODES8,
        Arithmetic.FLOAT if exact else Arithmetic.INT8,
        (out, inputs, first.group),
        scales=scale_type(parts),
        mins=first.mins is not None,
        bias=bias,
    )
    row = 0
    for part in parts:
        weight.fill(row, part.codes, part.scales, part.mins)
        row += part.shape[0]
    return weight


def scale_type(parts: Sequence[QuantizedWeight]) -> torch.dtype:
    """The smaller of float16 and float32 that holds all scales and minima exactly.

    Those of Q4_0, Q4_1 and Q8_0 are stored in 16 bits: with 4-bit codes, a sixth less to read.
    """
    for part in parts:
        for numbers in (part.scales, part.mins):
            if numbers is not None and not torch.equal(numbers.half().float(), numbers):
                return torch.float32
    return torch.float16


def narrowest(parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same numbers in the smallest type that holds all of them exactly.

    Most checkpoints are published in a type of 16 bits. Widened in registers they give the same
    results as float32, and half as much has to be read.
    """
    for dtype in (torch.bfloat16, torch.float16):
        smaller = []
        for part in parts:
            rounded = part.to(dtype)
            if not torch.equal(rounded.to(part.dtype), part):
                break
            smaller.append(rounded)
        if len(smaller) == len(parts):
            return smaller
    return [part.to(torch.float32) for part in parts]


def pack_dense(
    library: NativeLibrary, parts: Sequence[torch.Tensor], bias: torch.Tensor | None
) -> NativeWeight:
    """Weights [out_i, in] of one type (float32, float16, bfloat16), one below the other."""
    kind = _DENSE[parts[0].dtype]
    out, inputs = sum(part.shape[0] for part in parts), parts[0].shape[1]
    weight = NativeWeight(
        library,
        kind,
        Arithmetic.FLOAT,
        (out, inputs, inputs),
        scales=None,
        mins=False,
        bias=bias,
    )
    first = 0
    for part in parts:
        weight.fill(first, part)
        first += part.shape[0]
    return weight


def _empty(count: int, dtype: torch.dtype) -> torch.Tensor:
    return empty_bytes(dtype.itemsize * count).view(dtype)


def _address(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
