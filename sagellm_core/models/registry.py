"""The model registry: names for models, kept in ``metadata.json`` under one root.

On disk: ``<root>/metadata.json`` maps a model id to ``path``, ``revision``, ``size_bytes``,
``last_used`` (seconds since 1970) and ``tags``. Fields that are unknown here are kept. Models may
lie under the root, in ``org__name[__revision]/``, or anywhere else; those elsewhere are never
deleted from disk.

Without ``root``, looking up asks three registries: sagellm's own
(``$SAGE_SAGELLM_MODEL_ROOT``, or ``~/.sage/models/sagellm``), which is the one that is written,
SAGE's old vLLM registry, and that of isage 0.3. With ``root`` it asks that one alone.

A look-up takes any string: one that cannot be an id is simply not registered. Functions that
write refuse such an id with :class:`ModelRegistryError`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .deletion import delete_aside, is_ours, move_aside
from .entry import ModelInfo, checked_tags, read_entries, read_entry, size_of, write_entry
from .errors import DiskSpaceError, ModelNotFoundError, ModelRegistryError
from .model_name import ModelName, require_text, split_key
from .registry_file import RegistryFile
from .registry_root import RegistryRoot, model_root, read_roots, written_root

if TYPE_CHECKING:
    from .adoption import Adoption, import_models
    from .download import download_model, ensure_model_available
    from .recommended import fetch_recommended_models

__all__ = [
    "Adoption",
    "ModelInfo",
    "ModelNotFoundError",
    "ModelRegistryError",
    "add_model",
    "delete_model",
    "download_model",
    "ensure_model_available",
    "fetch_recommended_models",
    "find_model",
    "get_model_path",
    "import_models",
    "list_models",
    "model_root",
    "touch_model",
]

_log = logging.getLogger("sagellm.models")

#: Loaded on first use: looking a model up needs no network.
_HOME = {
    "Adoption": "adoption",
    "import_models": "adoption",
    "download_model": "download",
    "ensure_model_available": "download",
    "fetch_recommended_models": "recommended",
}


def list_models(root: Path | str | None = None) -> list[ModelInfo]:
    """Every registered model, the one used last first; of two with one id, ours.

    Entries whose files are gone or incomplete are there too: see :attr:`ModelInfo.state`.

    :raises ModelRegistryError: the registry cannot be read.
    """
    models: dict[str, ModelInfo] = {}
    for place in read_roots(root):
        for info in _read(place):
            models.setdefault(info.model_id, info)
    return sorted(models.values(), key=lambda info: (-info.last_used, info.model_id))


def find_model(model_id: str, root: Path | str | None = None) -> ModelInfo | None:
    """The entry that ``model_id`` names, or ``None``; a whole model before an incomplete one.

    ``org/name@revision`` also finds the commit of a download, and ``org/name`` the newest
    revision where there is none of the default branch.

    :raises ModelRegistryError: the registry cannot be read, or the id is no string.
    """
    found = _select(model_id, root)
    return None if found is None else found[0]


def get_model_path(model_id: str, root: Path | str | None = None) -> Path | None:
    """Where a registered model lies; ``None`` if it is not registered, gone, or incomplete.

    What is missing of an incomplete one is logged.

    :raises ModelRegistryError: the registry cannot be read, or the id is no string.
    """
    found = _select(model_id, root)
    if found is None:
        return None
    info, problem = found
    if problem:
        _log.warning("The registered model %s cannot be used: %s", model_id, problem)
        return None
    return info.path


def add_model(
    model_id: str,
    path: Path | str,
    *,
    root: Path | str | None = None,
    revision: str = "",
    tags: Sequence[str] = (),
    replace: bool = False,
) -> ModelInfo:
    """Register a model where it lies; nothing is copied.

    :param replace: whether an entry of that id may be replaced.
    :raises ModelRegistryError: the id is malformed or taken, or the registry is not writable.
    :raises ModelError: there is no whole model at ``path``.
    """
    from .description import describe_resolved
    from .local_path import exists, expand, missing_path_error
    from .resolved import resolved_at

    ModelName.parse(model_id)
    if not isinstance(revision, str):
        raise ModelRegistryError(
            f"The revision is a string, not {revision!r}."[:200], hint="Pass a branch or commit."
        )
    words = checked_tags(tags)
    # Headers are read now, so that a model that cannot work is not discovered much later.
    wanted = expand(str(path))
    if not exists(wanted):
        raise missing_path_error(str(path), wanted)
    described = describe_resolved(resolved_at(wanted, reference=str(path), source="path"))
    assert described.path is not None
    place = described.path.resolve()
    entry = write_entry(place, revision, size_of(place), time.time(), words, "")
    file = RegistryFile(written_root(root))
    with file.change() as entries:
        if model_id in entries and not replace:
            taken = entries[model_id]
            where = taken.get("path") if isinstance(taken, Mapping) else "a broken entry"
            raise ModelRegistryError(
                f"The id {model_id!r} is registered already ({where}).",
                hint=f"Choose another id, or first run: sagellm models rm {model_id}",
            )
        entries[model_id] = entry
    info = read_entry(file.root, model_id, entry)
    assert info is not None
    return info


def touch_model(model_id: str, root: Path | str | None = None) -> bool:
    """Note that a model is used now; returns whether that was noted.

    It is not for a model that is registered by another program only: nothing is written there.

    :raises ModelRegistryError: the registry is not writable, or the id is no string.
    """
    require_text(model_id)
    file = RegistryFile(written_root(root))
    if not _fitting(read_entries(file.root, file.read()), model_id):
        return False
    with file.change() as entries:
        found = _fitting(read_entries(file.root, entries), model_id)
        if not found:
            return False
        entries[found[0].model_id]["last_used"] = time.time()
    return True


def delete_model(model_id: str, root: Path | str | None = None) -> bool:
    """Forget a model, and delete its files if they lie under the registry's root.

    What an unfinished download of it left is deleted too.

    :param model_id: exactly as :func:`list_models` has it.
    :returns: whether there was anything of that id.
    :raises ModelRegistryError: the registry or the files cannot be changed; or the model is
        registered by another program only, whose files are not ours to delete.
    """
    require_text(model_id)
    file = RegistryFile(written_root(root))
    found = _forget(file, model_id)
    if split_key(model_id).key == model_id and file.root.path.is_dir():
        from .staging import discard_staging

        found |= discard_staging(file.root.path, model_id)
    if not found and root is None:
        _refuse_foreign(model_id)
    return found


def _forget(file: RegistryFile, model_id: str) -> bool:
    if model_id not in file.read():
        return False
    moved: dict[Path, Path] = {}
    try:
        found = _take_out(file, model_id, moved)
    except DiskSpaceError:
        if not moved:
            raise
        # On a full disk the registry can only be written once the model is gone.
        for aside in moved.values():
            delete_aside(aside)
        return _take_out(file, model_id, {})
    except ModelRegistryError:
        for place, aside in moved.items():
            aside.rename(place)
        raise
    for aside in moved.values():
        delete_aside(aside)
    return found


def _take_out(file: RegistryFile, model_id: str, moved: dict[Path, Path]) -> bool:
    with file.change() as entries:
        if model_id not in entries:
            return False
        info = read_entry(file.root, model_id, entries.pop(model_id))
        if info and is_ours(info.path, file.root.path, read_entries(file.root, entries)):
            aside = move_aside(info.path, file.root.path)
            if aside is not None:
                moved[info.path] = aside
    return True


def _select(model_id: str, root: Path | str | None) -> tuple[ModelInfo, str] | None:
    """The entry that an id names, and what is wrong with that model."""
    require_text(model_id)
    first = None
    for place in read_roots(root):
        for info in _fitting(_read(place), model_id):
            problem = info.problem
            if not problem:
                return info, ""
            first = first or (info, problem)
    return first


def _refuse_foreign(model_id: str) -> None:
    for place in read_roots(None):
        if not place.is_foreign:
            continue
        for info in _read(place):
            if info.model_id == model_id:
                raise ModelRegistryError(
                    f"The model {model_id!r} is registered in {place.path}, which belongs to "
                    f"another program; sagellm reads it and deletes nothing there.",
                    hint=f"To delete it nevertheless, pass that directory as root, or delete "
                    f"{info.path} yourself.",
                )


def _read(place: RegistryRoot) -> list[ModelInfo]:
    try:
        return read_entries(place, RegistryFile(place).read())
    except ModelRegistryError as error:
        if not place.is_foreign:
            raise
        # What another program's registry says is a bonus: ours works without it.
        _log.warning("%s", error.message)
        return []


def _fitting(models: Sequence[ModelInfo], model_id: str) -> list[ModelInfo]:
    """The entries that an id may mean, the best first."""
    exact = [info for info in models if info.model_id == model_id]
    wanted = split_key(model_id)
    near = []
    for info in models:
        name = split_key(info.model_id)
        if info.model_id == model_id or (name.repo, name.file) != (wanted.repo, wanted.file):
            continue
        if not wanted.revision or wanted.revision in (info.revision, info.commit):
            near.append(info)
    return exact + sorted(near, key=lambda info: -info.last_used)


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __package__), name)
    globals()[name] = value
    return value
