"""From ggml's blocks to codes, scales and minima: the types that lose nothing by it.

Formats: the ``block_q*`` structs of ggml-common.h. In every function ``blocks`` is uint8
[n, block_bytes]; codes come as [n, block_size] (int8), scales and minima as [n, groups].
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from sagellm_torch.quantization import QuantizedWeight

from .k_quants import scale_min
from .legacy_quants import halves, nibbles

_Parts = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]

#: Inputs per scale, in all of these types.
GROUP = 32


def _low(blocks: torch.Tensor, start: int, groups: int, width: int) -> torch.Tensor:
    """Four bits of each element: ``groups`` runs of bytes whose halves are ``width`` apart."""
    packed = blocks[:, start : start + groups * width].reshape(-1, groups, width)
    codes = torch.empty(len(blocks), groups, 2, width, dtype=torch.uint8)
    nibbles(packed, codes)
    return codes.view(len(blocks), -1)


def _q8_0(blocks: torch.Tensor) -> _Parts:
    return blocks[:, 2:].view(torch.int8), halves(blocks, 0, 2), None


def _q4_0(blocks: torch.Tensor) -> _Parts:
    scale = halves(blocks, 0, 2)
    return _low(blocks, 2, 1, 16), scale, scale * -8


def _q4_1(blocks: torch.Tensor) -> _Parts:
    pair = halves(blocks, 0, 4)
    return _low(blocks, 4, 1, 16), pair[:, :1], pair[:, 1:]


def _fifth(blocks: torch.Tensor, start: int) -> torch.Tensor:
    bits = blocks[:, start : start + 4].unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8)
    return ((bits & 1) << 4).view(-1, 32)


def _q5_0(blocks: torch.Tensor) -> _Parts:
    codes = (_low(blocks, 6, 1, 16) | _fifth(blocks, 2)).view(torch.int8) - 16
    return codes, halves(blocks, 0, 2), None


def _q5_1(blocks: torch.Tensor) -> _Parts:
    pair = halves(blocks, 0, 4)
    codes = (_low(blocks, 8, 1, 16) | _fifth(blocks, 4)).view(torch.int8)
    return codes, pair[:, :1], pair[:, 1:]


def _affine(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    d = halves(blocks, 0, 4)
    scale, minimum = scale_min(blocks[:, 4:16])
    return d[:, :1] * scale, -(d[:, 1:] * minimum)


def _q4_k(blocks: torch.Tensor) -> _Parts:
    return _low(blocks, 16, 4, 32), *_affine(blocks)


def _q5_k(blocks: torch.Tensor) -> _Parts:
    shifts = torch.arange(8, dtype=torch.uint8).unsqueeze(1)
    high = ((blocks[:, 16:48].unsqueeze(1) >> shifts) & 1) << 4
    codes = _low(blocks, 48, 4, 32) | high.reshape(-1, 256)
    return codes.view(torch.int8), *_affine(blocks)


#: Bits of the codes, and how to take them out of blocks.
READERS: dict[str, tuple[int, Callable[[torch.Tensor], _Parts]]] = {
    "Q8_0": (8, _q8_0),
    "Q4_0": (4, _q4_0),
    "Q4_1": (4, _q4_1),
    "Q5_0": (8, _q5_0),
    "Q5_1": (8, _q5_1),
    "Q4_K": (4, _q4_k),
    "Q5_K": (8, _q5_k),
}


class CodeBuffers:
    """A weight being filled chunk by chunk.

    :param name: of the type in the file, one of :data:`READERS`.
    :param shape: outputs and inputs.
    """

    def __init__(self, name: str, shape: tuple[int, int]) -> None:
        self._bits, self._read = READERS[name]
        out, inputs = shape
        width = inputs // 2 if self._bits == 4 else inputs
        self._weight = QuantizedWeight(
            bits=self._bits,
            group=GROUP,
            codes=torch.empty(out, width, dtype=torch.uint8 if self._bits == 4 else torch.int8),
            scales=torch.empty(out, inputs // GROUP),
            mins=None if name in ("Q8_0", "Q5_0") else torch.empty(out, inputs // GROUP),
        )
        self._codes = self._weight.codes.view(-1)
        self._scales = self._weight.scales.view(-1)
        self._mins = None if self._weight.mins is None else self._weight.mins.view(-1)

    @property
    def weight(self) -> QuantizedWeight:
        """The weight, whole once every block was added."""
        return self._weight

    def add(self, first: int, blocks: torch.Tensor) -> None:
        """Blocks from number ``first`` of the tensor on. Safe from several threads."""
        codes, scales, mins = self._read(blocks)
        per_block = codes.shape[1]
        if self._bits == 4:
            codes = codes[:, 0::2] | codes[:, 1::2] << 4
        flat = codes.reshape(-1)
        width = codes.shape[1]
        self._codes[first * width : first * width + len(flat)] = flat
        groups = per_block // GROUP
        span = slice(first * groups, (first + len(blocks)) * groups)
        self._scales[span] = scales.reshape(-1)
        if self._mins is not None:
            assert mins is not None, "the type has minima"
            self._mins[span] = mins.reshape(-1)
