"""Weights on disk as the native kernels read them."""

from .cache import PackedCache
from .contents import model_hash

__all__ = ["PackedCache", "model_hash"]
