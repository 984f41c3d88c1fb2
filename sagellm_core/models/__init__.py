"""Models: what a reference means, what a model's headers say, and which models are registered.

Nothing here touches weights, and nothing here runs code that came with a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "Adoption",
    "DiskSpaceError",
    "ModelDownloadError",
    "ModelInfo",
    "ModelNotFoundError",
    "ModelNotLocalError",
    "ModelRegistryError",
    "ResolvedModel",
    "add_model",
    "delete_model",
    "describe",
    "download_model",
    "ensure_model_available",
    "fetch_recommended_models",
    "find_model",
    "get_model_path",
    "import_models",
    "list_models",
    "model_root",
    "resolve",
    "touch_model",
]

# Loaded on first use, like the contract: `sagellm models path` needs no header readers.
_HOME = {
    "Adoption": "adoption",
    "import_models": "adoption",
    "download_model": "download",
    "ensure_model_available": "download",
    "ModelInfo": "entry",
    "DiskSpaceError": "errors",
    "ModelDownloadError": "errors",
    "ModelNotFoundError": "errors",
    "ModelNotLocalError": "errors",
    "ModelRegistryError": "errors",
    "describe": "lookup",
    "fetch_recommended_models": "recommended",
    "resolve": "reference",
    "add_model": "registry",
    "delete_model": "registry",
    "find_model": "registry",
    "get_model_path": "registry",
    "list_models": "registry",
    "touch_model": "registry",
    "model_root": "registry_root",
    "ResolvedModel": "resolved",
}

if TYPE_CHECKING:
    from .adoption import Adoption, import_models
    from .download import download_model, ensure_model_available
    from .entry import ModelInfo
    from .errors import (
        DiskSpaceError,
        ModelDownloadError,
        ModelNotFoundError,
        ModelNotLocalError,
        ModelRegistryError,
    )
    from .lookup import describe
    from .recommended import fetch_recommended_models
    from .reference import resolve
    from .registry import (
        add_model,
        delete_model,
        find_model,
        get_model_path,
        list_models,
        touch_model,
    )
    from .registry_root import model_root
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
