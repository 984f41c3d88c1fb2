"""Weights and configuration of a model on disk, whatever format they are in.

Names load on first use, because :mod:`sagellm_torch.tokenization` reads GGUF headers through
this package and has no use for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .opening import Checkpoint, open_checkpoint

__all__ = ["Checkpoint", "open_checkpoint"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import opening

    return getattr(opening, name)
