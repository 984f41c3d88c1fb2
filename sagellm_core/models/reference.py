"""What a model reference means: a path, a file in a package, a registry id, or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sagellm_core.contract.errors import ModelNotFoundError
from sagellm_core.contract.model import ProgressCallback

from .local_path import exists, expand, missing_path_error
from .resolved import ResolvedModel, resolved_at

if TYPE_CHECKING:
    from .entry import ModelInfo
    from .model_name import ModelName

_WEIGHT_SUFFIXES = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl")


def resolve(
    reference: str | Path,
    *,
    allow_download: bool = True,
    on_progress: ProgressCallback | None = None,
) -> ResolvedModel:
    """Find the model that ``reference`` names.

    Tried in this order: an existing directory or file; ``package:DIST/FILE``, a file shipped in
    an installed Python package; an id of the model registry; on the hub,
    ``org/name[@revision][:file.gguf]``: its local cache, then a download into the registry.

    :param allow_download: whether a hub model that is not on this machine may be downloaded.
    :param on_progress: told about the bytes of a download.
    :raises ModelNotFoundError: the reference leads nowhere.
    :raises ModelNotLocalError: it is on the hub only, and ``allow_download`` is false.
    :raises ModelFormatError: it leads to something that is not a model.
    :raises UnsafeModelError: it leads to weights that are kept as pickle.
    :raises ModelDownloadError: the hub could not be reached.
    """
    text = _as_text(reference)
    if text.startswith("package:"):
        from .package import find_in_package

        return resolved_at(find_in_package(text), reference=text, source="package")

    place = expand(text)
    if exists(place):
        return resolved_at(place, reference=text, source="path")

    if isinstance(reference, Path):
        raise _leads_nowhere(text, place)
    from .registry import find_model

    name = _hub_name(text)
    entry = find_model(text)
    if entry is not None and not (name and allow_download and _is_better_fetched(entry, name)):
        revision = entry.commit or entry.revision
        return resolved_at(entry.path, reference=text, source="registry", revision=revision)
    if name is not None:
        from .hub import find_on_hub

        folder, revision = find_on_hub(name, allow_download=allow_download, on_progress=on_progress)
        return resolved_at(folder, reference=text, source="hub", revision=revision)
    raise _leads_nowhere(text, place)


def _hub_name(text: str) -> ModelName | None:
    """The hub's name for it, if it can be one: ``org/name[@revision][:file.gguf]``."""
    from .model_name import ModelName, is_model_id

    if not is_model_id(text):
        return None
    name = ModelName.parse(text)
    if name.repo.count("/") != 1 or (not name.file and _is_clearly_a_path(text)):
        return None
    return name


def _is_better_fetched(entry: ModelInfo, name: ModelName) -> bool:
    """Whether the hub should be asked though the registry has something.

    That is so for an interrupted download, and for another revision than the one asked for.
    """
    from .offline import offline_variable

    if offline_variable():
        return False
    if entry.model_id != name.key and name.revision not in (entry.revision, entry.commit):
        return True
    is_download = entry.root is not None and entry.path.parent == entry.root
    return is_download and not entry.is_foreign and not entry.is_complete


def _as_text(reference: str | Path) -> str:
    if not isinstance(reference, (str, Path)):
        raise ModelNotFoundError(
            f"A model reference is a string or a path, not {type(reference).__name__}.",
            hint="Pass a directory, a .gguf file, org/name, package:DIST/FILE or a registry id.",
        )
    text = str(reference)
    if not text.strip():
        raise ModelNotFoundError(
            "The model reference is empty.",
            hint="Pass a directory, a .gguf file, org/name, package:DIST/FILE or a registry id.",
        )
    if "\0" in text:
        raise ModelNotFoundError(
            f"The model reference {text!r} has a NUL character.", hint="Remove it."
        )
    return text


def _is_clearly_a_path(text: str) -> bool:
    return text.startswith(("/", "./", "../", "~")) or text.lower().endswith(_WEIGHT_SUFFIXES)


def _leads_nowhere(text: str, place: Path) -> ModelNotFoundError:
    import difflib

    if not _is_clearly_a_path(text) and "/" not in text:
        from .registry import list_models

        ids = [entry.model_id for entry in list_models()]
        near = difflib.get_close_matches(text, ids, n=1)
        if near:
            return ModelNotFoundError(
                f"There is no model {text!r}.", hint=f"Did you mean the registered {near[0]!r}?"
            )
    return missing_path_error(text, place)
