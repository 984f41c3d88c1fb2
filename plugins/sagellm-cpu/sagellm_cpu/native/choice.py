"""Which of several libraries is the fastest on this machine, where its flags do not say.

Two instruction sets are left out. AVX512-BF16: a core of a Zen 4 does 118 multiply-adds a
nanosecond in bfloat16, while the int8 kernels reach 150 to 190 of its 236 over half as many bytes;
and float32 inputs in three bfloat16 parts, to be exact, come to 39, where the float32 kernel
reaches 50. AMX-BF16 sums in an order of its own, so that a row's bits would depend on how many rows
there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import torch

from .library import NativeLibrary
from .linear import NativeLinear
from .weight import Arithmetic, Format, NativeWeight

#: Outputs and inputs of the layer that is timed: as many bytes as a core has in its second cache,
#: so that instructions count and not the memory, which is the same for all.
_OUT, _INPUTS = 768, 768


@dataclass(frozen=True, slots=True)
class Product:
    """A product that is timed."""

    format: Format
    arithmetic: Arithmetic
    #: Inputs that share a scale.
    group: int
    rows: int


#: A decode step alone, several together, and a prompt.
STEPS = (
    *(Product(Format.FLOAT32, Arithmetic.FLOAT, _INPUTS, rows) for rows in (1, 8, 64)),
    *(Product(Format.CODES8, Arithmetic.INT8, _INPUTS, rows) for rows in (1, 8, 64)),
)
#: What instructions for matrices of bytes are for, with the scales that weights have by default.
PROMPTS = (
    *(Product(Format.CODES8, Arithmetic.INT8, 64, rows) for rows in (16, 128)),
    *(Product(Format.CODES4, Arithmetic.INT8, 32, rows) for rows in (16, 128)),
)
_ROUNDS = 7
#: How much faster a later library has to be: differences below are noise.
_MARGIN = 0.95


def fastest(
    libraries: Sequence[NativeLibrary], products: Sequence[Product] = STEPS
) -> NativeLibrary:
    """By the geometric mean of several products' times, each the best of some rounds in turn.

    Takes some 30 ms for each library; the first wins where they are about equal.
    """
    timed = [_Candidate(library, products) for library in libraries]
    for _ in range(_ROUNDS):
        for candidate in timed:
            candidate.measure()
    best = timed[0]
    for candidate in timed[1:]:
        if candidate.mean() < best.mean() * _MARGIN:
            best = candidate
    return best.library


class _Candidate:
    def __init__(self, library: NativeLibrary, products: Sequence[Product]) -> None:
        self.library = library
        # One thread: what is measured is the processor, not who else uses it.
        pool = library.pool(1)
        layers = {
            kind: NativeLinear(_weight(library, *kind), pool)
            for kind in {(made.format, made.arithmetic, made.group) for made in products}
        }
        self._products = [
            (layers[made.format, made.arithmetic, made.group], torch.ones(made.rows, _INPUTS))
            for made in products
        ]
        self._best = [math.inf] * len(self._products)

    def measure(self) -> None:
        for i, (layer, x) in enumerate(self._products):
            began = perf_counter()
            layer(x)
            self._best[i] = min(self._best[i], perf_counter() - began)

    def mean(self) -> float:
        """Seconds."""
        return math.exp(sum(map(math.log, self._best)) / len(self._best))


def _weight(
    library: NativeLibrary, kind: Format, arithmetic: Arithmetic, group: int
) -> NativeWeight:
    coded = kind in (Format.CODES8, Format.CODES4)
    weight = NativeWeight(
        library,
        kind,
        arithmetic,
        (_OUT, _INPUTS, group),
        # What most files have for groups of 32.
        scales=torch.float16 if coded else None,
        mins=False,
        bias=None,
    )
    if coded:
        two = kind is Format.CODES4  # codes in a byte
        codes = torch.ones(_OUT, _INPUTS // 2 if two else _INPUTS, dtype=torch.int8)
        weight.fill(0, codes, torch.ones(_OUT, _INPUTS // group))
    else:
        weight.fill(0, torch.ones(_OUT, _INPUTS))
    return weight
