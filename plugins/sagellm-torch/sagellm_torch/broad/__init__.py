"""Models through transformers' own modelling code, attending over the kit's paged KV cache.

Everything that the native decoder does not cover and that a test proves. What a config asks for
is judged without torch (:mod:`.families`); transformers is imported when such a model is loaded.
"""

from __future__ import annotations

from .families import PROVEN_MODEL_TYPES, check_broad, is_broad

__all__ = ["PROVEN_MODEL_TYPES", "check_broad", "is_broad"]
