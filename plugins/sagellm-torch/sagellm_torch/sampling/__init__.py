"""From logits to tokens."""

from __future__ import annotations

from .row_state import RowState
from .sampler import Sampled, sample

__all__ = ["RowState", "Sampled", "sample"]
