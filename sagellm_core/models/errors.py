"""Errors of this floor, below the contract's model errors."""

from __future__ import annotations

from sagellm_core.contract import errors as contract

__all__ = [
    "DiskSpaceError",
    "ModelDownloadError",
    "ModelNotFoundError",
    "ModelNotLocalError",
    "ModelRegistryError",
]


class ModelRegistryError(contract.ModelError, RuntimeError):
    """The model registry cannot be read, locked or written, or refuses an id."""

    code = "model_registry"


class ModelNotFoundError(ModelRegistryError, contract.ModelNotFoundError):
    """The registry, or the hub, has no such model: the contract's error and the registry's."""

    code = "model_not_found"


class ModelNotLocalError(ModelNotFoundError):
    """The reference names a model on the hub that is not on disk, and downloads are not allowed."""

    code = "model_not_local"


class ModelDownloadError(ModelRegistryError):
    """The hub could not be reached, or a download broke off; what arrived is kept for next time."""

    code = "model_download"
    retryable = True


class DiskSpaceError(ModelDownloadError):
    """There is, or was in the middle of it, too little space for a download."""

    code = "disk_space"
    retryable = False
