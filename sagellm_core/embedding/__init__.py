"""Embeddings: texts of any number and length in, one float32 array out.

``engine`` is what users hold, ``config`` what it is made from, ``session`` what it has once it
is loaded. A ``call`` takes its checked ``texts`` by the ``planning`` through what is
``provided`` and back into one array in input order.
"""

from __future__ import annotations

from .config import EmbeddingConfig
from .engine import EmbeddingEngine

__all__ = ["EmbeddingConfig", "EmbeddingEngine"]
