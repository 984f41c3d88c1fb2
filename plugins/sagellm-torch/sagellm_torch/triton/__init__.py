"""Kernels in Triton, for every device that triton compiles for.

A vendor hands in a :class:`TileTable` of its device and derives from :class:`TritonAdapter`; the
kernels are the same for all. Importing this package imports no triton: that happens when an
adapter is made, and a missing triton is a note on the model and not an error.
"""

from __future__ import annotations

from .adapter import MaskedCache, TritonAdapter
from .presence import triton_problem
from .tiles import AttentionTile, TileTable, shared_bytes

__all__ = [
    "AttentionTile",
    "MaskedCache",
    "TileTable",
    "TritonAdapter",
    "shared_bytes",
    "triton_problem",
]
