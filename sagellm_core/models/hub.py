"""Models of the Hugging Face hub: the local cache first, then a download without pickle or code.

Needs ``huggingface_hub`` (the ``[hub]`` extra), imported when a hub reference is met.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sagellm_core.contract.errors import ModelError, ModelFormatError, ModelNotFoundError
from sagellm_core.contract.model import ProgressCallback

from .errors import ModelDownloadError, ModelNotLocalError
from .place import PICKLE_SUFFIXES, inspect_place, pickle_weights_error

#: Beside the weights: configs, tokenizers (JSON, sentencepiece, text) and chat templates.
_SUFFIXES = (".json", ".model", ".txt", ".jinja")


def find_on_hub(
    repo: str,
    revision: str | None,
    *,
    allow_download: bool,
    on_progress: ProgressCallback | None,
) -> tuple[Path, str]:
    """The directory of a hub model, and its commit.

    :param repo: ``org/name``.
    :param revision: branch, tag or commit; ``None`` for the default branch.
    :raises ModelNotFoundError: no such model or revision, no access, or no ``[hub]`` extra.
    :raises ModelNotLocalError: not in the cache, and downloads are off.
    :raises ModelDownloadError: the hub could not be reached, or the disk is full.
    :raises UnsafeModelError: the hub has pickle weights only.
    """
    from importlib.util import find_spec

    label = f"{repo}@{revision}" if revision else repo
    if find_spec("huggingface_hub") is None:
        raise ModelNotFoundError(
            f"There is no model {label!r} here, and models of the hub need huggingface_hub.",
            hint='pip install "sagellm-core[hub]"',
        )
    cached = _in_cache(repo, revision)
    if cached is not None:
        return cached, cached.name
    if _is_offline():
        raise ModelNotLocalError(
            f"The model {label!r} is not in the local cache, and HF_HUB_OFFLINE is set.",
            hint="Unset HF_HUB_OFFLINE, or pass the path of a local copy.",
        )
    if not allow_download:
        raise ModelNotLocalError(
            f"The model {label!r} is not on this machine, and downloads are not allowed here.",
            hint=f"Fetch it first: hf download {repo}"
            + (f" --revision {revision}" if revision else ""),
        )
    return _download(repo, revision, label, on_progress)


def _is_offline() -> bool:
    # Read now rather than when huggingface_hub was imported.
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _in_cache(repo: str, revision: str | None) -> Path | None:
    """The snapshot in the cache, if it holds a whole model."""
    from huggingface_hub import try_to_load_from_cache

    # A model directory has a config.json, and a GGUF release may have nothing but the weights:
    # so the snapshot is looked for by its folder where config.json is not cached.
    hit = try_to_load_from_cache(repo, "config.json", revision=revision)
    snapshot = Path(hit).parent if isinstance(hit, str) else _snapshot(repo, revision)
    if snapshot is None:
        return None
    try:
        place, _ = inspect_place(snapshot)
        if place.is_dir():
            from .directory import find_weights

            find_weights(place)
    except ModelError:
        return None  # what an interrupted download left: the hub is asked again
    return snapshot


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


def _download(
    repo: str, revision: str | None, label: str, on_progress: ProgressCallback | None
) -> tuple[Path, str]:
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        names = choose_files([sibling.rfilename for sibling in info.siblings or ()], label)
        sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
        total = sum(sizes[name] for name in names)
        folder = snapshot_download(
            repo,
            # Not the commit: the cache remembers what the name stood for only if it is asked so.
            revision=revision,
            allow_patterns=[_literal(name) for name in names],
            tqdm_class=_reporter(f"downloading {label}", total, on_progress),
        )
    except ModelError:
        raise
    except Exception as error:
        raise _translate(error, label) from error
    return Path(folder), Path(folder).name


def choose_files(names: Sequence[str], label: str) -> list[str]:
    """Which of a repository's files are the model: top level, no pickle, no code.

    :raises UnsafeModelError: its only weights are pickle.
    :raises ModelFormatError: it has no weights, or several GGUF files to choose from.
    """
    top = [name for name in names if "/" not in name]
    weights = [name for name in top if name.endswith(".safetensors")]
    # Releases often repeat the weights under other names (consolidated.safetensors, ...).
    named = [name for name in weights if name.startswith("model")]
    weights = named or [name for name in weights if not name.startswith("adapter_")]
    if not weights:
        weights = [name for name in top if name.lower().endswith(".gguf")]
        if len(weights) > 1:
            raise ModelFormatError(
                f"The repository {label} has {len(weights)} GGUF files: {', '.join(weights[:8])}.",
                hint=f"Fetch one and pass its path: hf download {label.partition('@')[0]} "
                f"{weights[0]}",
            )
    if not weights:
        pickles = [name for name in top if name.lower().endswith(PICKLE_SUFFIXES)]
        if pickles:
            raise pickle_weights_error(Path(label), pickles)
        raise ModelFormatError(
            f"The repository {label} has no weights in safetensors or GGUF.",
            hint="Check its files on the hub.",
        )
    return sorted(weights + [name for name in top if name.endswith(_SUFFIXES)])


def _literal(name: str) -> str:
    """``name`` as a pattern that matches itself alone."""
    from glob import escape

    return escape(name)


def _reporter(stage: str, total: int, on_progress: ProgressCallback | None) -> type:
    """A silent tqdm class that hands the bytes of a download to ``on_progress``."""
    from importlib import import_module

    base: Any = import_module("tqdm").tqdm
    # huggingface_hub may count transfers and writes in two bars: the one ahead tells.
    written: dict[int, int] = {}

    class Reporter(base):  # type: ignore[misc]
        def display(self, *args: Any, **kwargs: Any) -> bool:
            return True

        def update(self, n: float | None = 1) -> Any:
            if self.unit == "B" and n and on_progress is not None:
                written[id(self)] = written.get(id(self), 0) + int(n)
                on_progress(stage, min(max(written.values()), total), total)
            return super().update(n)

    return Reporter


def _translate(error: Exception, label: str) -> ModelError:
    from huggingface_hub import errors

    first = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
    if isinstance(error, errors.GatedRepoError):
        return ModelNotFoundError(
            f"Access to {label} is restricted by its author.",
            hint="Accept its conditions on the hub, then run: hf auth login",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFoundError(
            f"The hub model {label} has no such revision.", hint="Check the part after '@'."
        )
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        return ModelNotFoundError(
            f"There is no model {label!r}: neither on this machine nor, openly, on the hub.",
            hint="Check the spelling; for a private model run: hf auth login",
        )
    if isinstance(error, OSError) and error.errno is not None and error.filename:
        return ModelDownloadError(
            f"The download of {label} could not be written to {error.filename}: {error.strerror}.",
            hint="Free some space, or point HF_HOME to a directory that you may write to.",
        )
    return ModelDownloadError(
        f"{label} could not be downloaded: {type(error).__name__}: {first}",
        hint="Check the network (HTTPS_PROXY, HF_ENDPOINT) and run the command again; "
        "what arrived is kept.",
    )
