"""Stand-in for SAGE's ``vllm_registry``: its functions, on today's registry.

Each function warns, once for each place that calls it, and names its replacement. One behaves as
it did in the old registry and no longer does: :func:`get_model_path` raises for a model that is
missing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import registry
from .entry import ModelInfo
from .errors import ModelNotFoundError, ModelRegistryError

__all__ = [
    "ModelInfo",
    "ModelNotFoundError",
    "ModelRegistryError",
    "delete_model",
    "download_model",
    "ensure_model_available",
    "fetch_recommended_models",
    "get_model_path",
    "list_models",
    "touch_model",
]


def list_models(root: Path | str | None = None) -> list[ModelInfo]:
    """As :func:`.registry.list_models`."""
    _deprecated("list_models")
    return registry.list_models(root)


def get_model_path(model_id: str, root: Path | str | None = None) -> Path:
    """As :func:`.registry.get_model_path`, but a missing model is an error.

    :raises ModelNotFoundError: it is not registered, gone, or incomplete.
    """
    _deprecated("get_model_path")
    path = registry.get_model_path(model_id, root)
    if path is None:
        raise ModelNotFoundError(
            f"The model {model_id!r} is not on this machine.",
            hint=f"Fetch it: sagellm models download {model_id}",
        )
    return path


def touch_model(model_id: str, root: Path | str | None = None) -> bool:
    """As :func:`.registry.touch_model`."""
    _deprecated("touch_model")
    return registry.touch_model(model_id, root)


def download_model(
    model_id: str,
    revision: str | None = None,
    root: Path | str | None = None,
    tags: Iterable[str] | None = None,
    force: bool = False,
    progress: bool = True,
    **options: Any,
) -> ModelInfo:
    """As :func:`.registry.download_model`."""
    _deprecated("download_model")
    return registry.download_model(model_id, revision, root, tags, force, progress, **options)


def delete_model(model_id: str, root: Path | str | None = None) -> bool:
    """As :func:`.registry.delete_model`."""
    _deprecated("delete_model")
    return registry.delete_model(model_id, root)


def ensure_model_available(
    model_id: str,
    revision: str | None = None,
    root: Path | str | None = None,
    auto_download: bool = True,
) -> Path:
    """As :func:`.registry.ensure_model_available`."""
    _deprecated("ensure_model_available")
    return registry.ensure_model_available(model_id, revision, root, auto_download)


def fetch_recommended_models(
    index_url: str | None = None, timeout: float = 5.0
) -> list[dict[str, Any]]:
    """As :func:`.registry.fetch_recommended_models`."""
    _deprecated("fetch_recommended_models")
    return registry.fetch_recommended_models(index_url, timeout)


def _deprecated(function: str) -> None:
    warnings.warn(
        f"vllm_registry.{function} is deprecated: use sagellm_registry.{function} "
        "(from sagellm_core import sagellm_registry).",
        DeprecationWarning,
        stacklevel=3,
    )
