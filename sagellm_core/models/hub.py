"""Models of the Hugging Face hub: the local cache first, then a download into the registry.

Needs ``huggingface_hub`` (the ``[hub]`` extra), imported when a hub reference is met.
"""

from __future__ import annotations

from pathlib import Path

from sagellm_core.contract.errors import ModelError
from sagellm_core.contract.model import ProgressCallback

from .errors import ModelNotLocalError
from .model_name import ModelName
from .place import inspect_place
from .repository import require_hub


def find_on_hub(
    name: ModelName, *, allow_download: bool, on_progress: ProgressCallback | None
) -> tuple[Path, str]:
    """The directory of a hub model that is not registered, and its commit.

    :raises ModelNotFoundError: no such model or revision, no access, or no ``[hub]`` extra.
    :raises ModelNotLocalError: not in the cache, and downloads are off.
    :raises ModelDownloadError: the hub could not be reached, or the disk is full.
    :raises UnsafeModelError: the hub has pickle weights only.
    """
    cached = _in_cache(name)
    if cached is not None:
        return cached
    require_hub(name)
    if not allow_download:
        raise ModelNotLocalError(
            f"The model {name.key!r} is not on this machine, and downloads are not allowed here.",
            hint=f"Fetch it first: sagellm models download {name.key}",
        )
    from .download import download_model

    info = download_model(name.key, progress=on_progress or False)
    return info.path, info.commit or info.revision


def _in_cache(name: ModelName) -> tuple[Path, str] | None:
    """The model in huggingface_hub's cache and its commit, if the cache holds all of it."""
    from importlib.util import find_spec

    if find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    # A model directory has a config.json, and a GGUF release may have nothing but the weights:
    # so the snapshot is looked for by its folder where config.json is not cached.
    revision = name.revision or None
    wanted = name.file or "config.json"
    hit = try_to_load_from_cache(name.repo, wanted, revision=revision)
    if name.file:
        return (Path(hit), Path(hit).parent.name) if isinstance(hit, str) else None
    snapshot = Path(hit).parent if isinstance(hit, str) else _snapshot(name.repo, revision)
    if snapshot is None:
        return None
    try:
        place, _ = inspect_place(snapshot)
        if place.is_dir():
            from .directory import find_weights

            find_weights(place)
    except ModelError:
        return None  # what an interrupted download left: the hub is asked again
    return snapshot, snapshot.name


def _snapshot(repo: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        # Without the pattern, a snapshot counts as incomplete that lacks the readme.
        place = snapshot_download(
            repo, revision=revision, allow_patterns=["*.gguf"], local_files_only=True
        )
        return Path(place)
    except (LocalEntryNotFoundError, HFValidationError):
        return None
