"""Models: what a reference means, what a model's headers say, and which models are registered.

Nothing here touches weights, and nothing here runs code that came with a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "ModelDownloadError",
    "ModelInfo",
    "ModelNotLocalError",
    "ModelRegistryError",
    "ResolvedModel",
    "add_model",
    "delete_model",
    "describe",
    "get_model_path",
    "list_models",
    "model_root",
    "resolve",
    "touch_model",
]

# Loaded on first use, like the contract: `sagellm models path` needs no header readers.
_HOME = {
    "ModelDownloadError": "errors",
    "ModelNotLocalError": "errors",
    "ModelRegistryError": "errors",
    "ResolvedModel": "resolved",
    "resolve": "reference",
    "describe": "lookup",
    "ModelInfo": "registry",
    "add_model": "registry",
    "delete_model": "registry",
    "get_model_path": "registry",
    "list_models": "registry",
    "model_root": "registry",
    "touch_model": "registry",
}

if TYPE_CHECKING:
    from .errors import ModelDownloadError, ModelNotLocalError, ModelRegistryError
    from .lookup import describe
    from .reference import resolve
    from .registry import (
        ModelInfo,
        add_model,
        delete_model,
        get_model_path,
        list_models,
        model_root,
        touch_model,
    )
    from .resolved import ResolvedModel


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
