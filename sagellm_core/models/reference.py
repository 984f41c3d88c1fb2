"""What a model reference means: a path, a file in a package, a registry id, or a hub id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sagellm_core.contract.errors import ModelNotFoundError
from sagellm_core.contract.model import ModelFormat, ProgressCallback

Source = Literal["path", "package", "registry", "hub"]

#: ``org/name`` or ``org/name@revision`` (huggingface.co naming rules: letters, digits, ``-._``).
_HUB_REFERENCE = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w./-]+))?",
    re.ASCII,
)
_WEIGHT_SUFFIXES = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """Where a reference leads on this machine."""

    #: What the user typed.
    reference: str
    #: A directory (safetensors) or a GGUF file; absolute.
    path: Path
    #: How the model lies there.
    kind: ModelFormat
    #: Which kind of reference it was.
    source: Source
    #: Hub revision (a commit where it is known); empty elsewhere.
    revision: str = ""


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
        from .place import inspect_place

        path, kind = inspect_place(find_in_package(text))
        return ResolvedModel(reference=text, path=path, kind=kind, source="package")

    place = _expand(text)
    if _exists(place):
        from .place import inspect_place

        path, kind = inspect_place(place)
        return ResolvedModel(reference=text, path=path, kind=kind, source="path")

    if not isinstance(reference, Path):
        from .registry import find_model

        entry = find_model(text)
        if entry is not None:
            from .place import inspect_place

            path, kind = inspect_place(entry.path)
            return ResolvedModel(
                reference=text, path=path, kind=kind, source="registry", revision=entry.revision
            )

    hub = _HUB_REFERENCE.fullmatch(text)
    if hub and not isinstance(reference, Path) and not _is_clearly_a_path(text):
        from .hub import find_on_hub
        from .place import inspect_place

        folder, revision = find_on_hub(
            hub["repo"], hub["revision"], allow_download=allow_download, on_progress=on_progress
        )
        path, kind = inspect_place(folder)
        return ResolvedModel(reference=text, path=path, kind=kind, source="hub", revision=revision)
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


def _expand(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # "~someone" whose home directory is unknown
        return Path(text)


def _exists(place: Path) -> bool:
    try:
        place.stat()
    except (OSError, ValueError):  # a link loop or a name too long is no model either
        return False
    return True


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
    parent = place.parent
    try:
        siblings = [entry.name for entry in parent.iterdir()]
    except OSError:
        missing = parent
        while not _exists(missing.parent) and missing.parent != missing:
            missing = missing.parent
        return ModelNotFoundError(
            f"There is no model {text!r}: the directory {missing} does not exist.",
            hint="Check the path for a typing mistake.",
        )
    near = difflib.get_close_matches(place.name, siblings, n=1)
    if near:
        return ModelNotFoundError(
            f"There is no model {text!r}.", hint=f"Did you mean {parent / near[0]}?"
        )
    return ModelNotFoundError(
        f"There is no model {text!r}: no such file or directory, and no registered id.",
        hint="Pass a directory, a .gguf file, org/name, package:DIST/FILE, or an id of "
        "`sagellm models list`.",
    )
