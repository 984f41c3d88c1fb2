"""Which of several libraries is the fastest on this machine, where its flags do not say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import perf_counter

import torch

from .library import NativeLibrary
from .linear import NativeLinear
from .weight import Arithmetic, Format, NativeWeight

#: Outputs and inputs of the layer that is timed: as many bytes as a core has in its second cache,
#: so that instructions count and not the memory, which is the same for all.
_OUT, _INPUTS = 768, 768
#: Rows of a decode step alone, of several together, and of a prompt.
_ROWS = (1, 8, 64)
_ROUNDS = 7
#: How much faster a later library has to be: differences below are noise.
_MARGIN = 0.95


def fastest(libraries: Sequence[NativeLibrary]) -> NativeLibrary:
    """By the geometric mean of several products' times, each the best of some rounds in turn.

    Takes some 30 ms for each library; the first wins where they are about equal.
    """
    timed = [_Candidate(library) for library in libraries]
    for _ in range(_ROUNDS):
        for candidate in timed:
            candidate.measure()
    best = timed[0]
    for candidate in timed[1:]:
        if candidate.mean() < best.mean() * _MARGIN:
            best = candidate
    return best.library


class _Candidate:
    def __init__(self, library: NativeLibrary) -> None:
        self.library = library
        # One thread: what is measured is the processor, not who else uses it.
        pool = library.pool(1)
        layers = [
            NativeLinear(_weight(library, Format.FLOAT32, Arithmetic.FLOAT), pool),
            NativeLinear(_weight(library, Format.CODES8, Arithmetic.INT8), pool),
        ]
        self._products = [(layer, torch.ones(rows, _INPUTS)) for layer in layers for rows in _ROWS]
        self._best = [math.inf] * len(self._products)

    def measure(self) -> None:
        for i, (layer, x) in enumerate(self._products):
            began = perf_counter()
            layer(x)
            self._best[i] = min(self._best[i], perf_counter() - began)

    def mean(self) -> float:
        """Seconds."""
        return math.exp(sum(map(math.log, self._best)) / len(self._best))


def _weight(library: NativeLibrary, kind: Format, arithmetic: Arithmetic) -> NativeWeight:
    coded = kind is Format.CODES8
    weight = NativeWeight(
        library,
        kind,
        arithmetic,
        (_OUT, _INPUTS, _INPUTS),
        codes=coded,
        mins=False,
        bias=None,
    )
    if coded:
        weight.fill(0, torch.ones(_OUT, _INPUTS, dtype=torch.int8), torch.ones(_OUT, 1))
    else:
        weight.fill(0, torch.ones(_OUT, _INPUTS))
    return weight
