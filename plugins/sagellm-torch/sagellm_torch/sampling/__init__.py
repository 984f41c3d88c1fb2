"""From logits to tokens."""

from __future__ import annotations

from .row_state import RowState
from .sampler import Sampled, SamplingBatch, sample

__all__ = ["RowState", "Sampled", "SamplingBatch", "sample"]
