"""Whether a compiled library computes: every kernel on numbers that it must get exactly."""

from __future__ import annotations

import torch

from .library import LibraryError, NativeLibrary
from .linear import NativeLinear
from .weight import Arithmetic, Format, NativeWeight

_OUT, _INPUTS = 37, 96
#: Inputs of a scale, and the type of scales, with which codes are tried.
_GROUPED = ((32, torch.float32), (32, torch.float16), (_INPUTS, torch.float32))


def check(library: NativeLibrary) -> None:
    """Takes a few milliseconds.

    :raises LibraryError: a kernel gives a wrong product.
    """
    made = torch.Generator().manual_seed(0)
    pool = library.pool(2)
    for kind in Format:
        bits = {Format.CODES8: 8, Format.CODES4: 4}.get(kind)
        low, high = (0, 16) if bits == 4 else (-100, 101)
        codes = torch.randint(low, high, (_OUT, _INPUTS), generator=made)
        for arithmetic in Arithmetic if bits else (Arithmetic.FLOAT,):
            for group, scales in _GROUPED if bits else ((_INPUTS, None),):
                packed = _packed(library, kind, arithmetic, group, scales, codes)
                layer = NativeLinear(packed, pool)
                for rows in (1, 5, 33):
                    x = torch.randint(-8, 9, (rows, _INPUTS), generator=made)
                    x[:, ::32] = 127  # the largest of each group: rounding to int8 is exact
                    exact = (x @ codes.T).float() * 0.5 + 1
                    if not torch.equal(layer(x.float()), exact):
                        raise LibraryError(
                            f"the {library.instructions} kernel of {kind.name} weights in "
                            f"{arithmetic.name} arithmetic gives wrong products"
                        )


def _packed(
    library: NativeLibrary,
    kind: Format,
    arithmetic: Arithmetic,
    group: int,
    scales: torch.dtype | None,
    codes: torch.Tensor,
) -> NativeWeight:
    weight = NativeWeight(
        library,
        kind,
        arithmetic,
        (_OUT, _INPUTS, group),
        scales=scales,
        mins=False,
        bias=torch.ones(_OUT),
    )
    if scales is None:
        types = {Format.FLOAT16: torch.float16, Format.BFLOAT16: torch.bfloat16}
        weight.fill(0, (codes * 0.5).to(types.get(kind, torch.float32)))
        return weight
    stored = codes.to(torch.int8)
    if kind is Format.CODES4:
        stored = (codes[:, 0::2] | codes[:, 1::2] << 4).to(torch.uint8)
    weight.fill(0, stored, torch.full((_OUT, _INPUTS // group), 0.5))
    return weight
