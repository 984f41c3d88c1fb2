"""Embedding: how a model's token vectors become one vector a text.

Names load on first use: :mod:`sagellm_torch.embedding.recipe` answers ``sagellm_can_load``,
where torch must not be imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .embedder import TorchEmbedder
    from .opening import open_embedder
    from .recipe import Recipe, read_recipe

_HOME = {
    "TorchEmbedder": "embedder",
    "open_embedder": "opening",
    "Recipe": "recipe",
    "read_recipe": "recipe",
}

__all__ = ["Recipe", "TorchEmbedder", "open_embedder", "read_recipe"]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{home}", __name__), name)
