"""Errors of this floor, below the contract's model errors."""

from __future__ import annotations

from sagellm_core.contract.errors import ModelError, ModelNotFoundError

__all__ = ["ModelDownloadError", "ModelNotLocalError", "ModelRegistryError"]


class ModelNotLocalError(ModelNotFoundError):
    """The reference names a model on the hub that is not on disk, and downloads are not allowed."""

    code = "model_not_local"


class ModelDownloadError(ModelError):
    """The hub could not be reached, or a download broke off; what arrived is kept for next time."""

    code = "model_download"
    retryable = True


class ModelRegistryError(ModelError, RuntimeError):
    """The model registry cannot be read, locked or written, or refuses an id."""

    code = "model_registry"
