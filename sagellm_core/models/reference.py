"""What a model reference means: a path, a file in a package, a registry id, or a hub id."""

from __future__ import annotations

import re
from pathlib import Path

from sagellm_core.contract.errors import ModelNotFoundError
from sagellm_core.contract.model import ProgressCallback

from .local_path import exists, expand, missing_path_error
from .resolved import ResolvedModel, resolved_at

#: ``org/name`` or ``org/name@revision`` (huggingface.co naming rules: letters, digits, ``-._``).
_HUB_REFERENCE = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w./-]+))?",
    re.ASCII,
)
_WEIGHT_SUFFIXES = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl")


def resolve(
    reference: str | Path,
    *,
    allow_download: bool = True,
    on_progress: ProgressCallback | None = None,
) -> ResolvedModel:
    """Find the model that ``reference`` names.

    Tried in this order: an existing directory or file; ``package:DIST/FILE``, a file shipped in
    an installed Python package; an id of the model registry; ``org/name[@revision]`` on the hub.

    :param allow_download: whether a hub model that is not in the local cache may be downloaded.
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

    if not isinstance(reference, Path):
        from .registry import find_model

        entry = find_model(text)
        if entry is not None:
            return resolved_at(
                entry.path, reference=text, source="registry", revision=entry.revision
            )

    hub = _HUB_REFERENCE.fullmatch(text)
    if hub and not isinstance(reference, Path) and not _is_clearly_a_path(text):
        from .hub import find_on_hub

        folder, revision = find_on_hub(
            hub["repo"], hub["revision"], allow_download=allow_download, on_progress=on_progress
        )
        return resolved_at(folder, reference=text, source="hub", revision=revision)
    raise _leads_nowhere(text, place)


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
