"""The model registry: names for models, kept in ``metadata.json`` under one root.

On disk: ``<root>/metadata.json`` maps a model id to ``path``, ``revision``, ``size_bytes``,
``last_used`` (seconds since 1970) and ``tags``. Fields that are unknown here are kept. Models may
lie under the root or anywhere else; those elsewhere are never deleted from disk.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ModelRegistryError
from .registry_file import RegistryFile, model_root

__all__ = [
    "ModelInfo",
    "add_model",
    "delete_model",
    "find_model",
    "get_model_path",
    "list_models",
    "model_root",
    "touch_model",
]

_ID = re.compile(r"[A-Za-z0-9][\w.+-]*(/[A-Za-z0-9][\w.+-]*)*(@[\w.+-]+(/[\w.+-]+)*)?", re.ASCII)
_ID_HINT = "Use letters, digits and . _ + - with '/' between parts, as in org/name@revision."


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One registered model."""

    model_id: str
    #: Absolute; a directory or a GGUF file.
    path: Path
    revision: str
    size_bytes: int
    #: Seconds since 1970.
    last_used: float
    tags: tuple[str, ...]

    @property
    def size_mb(self) -> float:
        """Size in units of 1024 x 1024 bytes."""
        return self.size_bytes / (1024 * 1024)

    @property
    def last_used_iso(self) -> str:
        """Last use as ISO 8601, UTC, in whole seconds."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.last_used))

    def to_dict(self) -> dict[str, Any]:
        """The entry as plain data."""
        return {
            "model_id": self.model_id,
            "path": str(self.path),
            "revision": self.revision,
            "size_bytes": self.size_bytes,
            "last_used": self.last_used,
            "tags": list(self.tags),
        }


def list_models(root: Path | str | None = None) -> list[ModelInfo]:
    """Every registered model, the one used last first.

    :raises ModelRegistryError: the registry cannot be read.
    """
    file = RegistryFile.at(root)
    models = [info for id_, entry in file.read().items() if (info := _info(file, id_, entry))]
    return sorted(models, key=lambda info: (-info.last_used, info.model_id))


def find_model(model_id: str, root: Path | str | None = None) -> ModelInfo | None:
    """The entry of ``model_id``, or ``None``.

    :raises ModelRegistryError: the registry cannot be read.
    """
    file = RegistryFile.at(root)
    entry = file.read().get(model_id)
    return None if entry is None else _info(file, model_id, entry)


def get_model_path(model_id: str, root: Path | str | None = None) -> Path | None:
    """Where a registered model lies; ``None`` if it is not registered, or gone from there.

    :raises ModelRegistryError: the registry cannot be read.
    """
    info = find_model(model_id, root)
    if info is None or not info.path.exists():
        return None
    if info.path.is_dir() and not any(info.path.iterdir()):
        return None  # an interrupted download leaves an empty directory: that is no model
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

    _check_id(model_id)
    # Headers are read now, so that a model that cannot work is not discovered much later.
    wanted = expand(str(path))
    if not exists(wanted):
        raise missing_path_error(str(path), wanted)
    described = describe_resolved(resolved_at(wanted, reference=str(path), source="path"))
    place = described.path
    assert place is not None
    entry = {
        "path": str(place.resolve()),
        "revision": revision,
        "size_bytes": _size_of(place),
        "last_used": time.time(),
        "tags": list(tags),
    }
    file = RegistryFile.at(root)
    with file.change() as entries:
        if model_id in entries and not replace:
            taken = entries[model_id]
            where = taken.get("path") if isinstance(taken, Mapping) else "a broken entry"
            raise ModelRegistryError(
                f"The id {model_id!r} is registered already ({where}).",
                hint=f"Choose another id, or first run: sagellm models rm {model_id}",
            )
        entries[model_id] = entry
    info = _info(file, model_id, entry)
    assert info is not None
    return info


def touch_model(model_id: str, root: Path | str | None = None) -> bool:
    """Note that a model is used now; returns whether it is registered.

    :raises ModelRegistryError: the registry is not writable.
    """
    file = RegistryFile.at(root)
    with file.change() as entries:
        entry = entries.get(model_id)
        if not isinstance(entry, dict):
            return False
        entry["last_used"] = time.time()
    return True


def delete_model(model_id: str, root: Path | str | None = None) -> bool:
    """Forget a model, and delete its files if they lie under the registry's root.

    :returns: whether the id was registered.
    :raises ModelRegistryError: the registry or the files cannot be changed.
    """
    file = RegistryFile.at(root)
    with file.change() as entries:
        if model_id not in entries:
            return False
        info = _info(file, model_id, entries.pop(model_id))
        others = [other for id_, entry in entries.items() if (other := _info(file, id_, entry))]
        doomed = info.path if info and _is_ours(info.path, file.root, others) else None
    if doomed is not None:
        _delete(doomed)
    return True


def _check_id(model_id: str) -> None:
    if not isinstance(model_id, str) or not _ID.fullmatch(model_id) or ".." in model_id:
        raise ModelRegistryError(
            f"{str(model_id)[:80]!r} cannot be the id of a model.", hint=_ID_HINT
        )
    if len(model_id) > 200:
        raise ModelRegistryError(
            f"The id has {len(model_id)} characters; at most 200 are allowed.", hint=_ID_HINT
        )


def _info(file: RegistryFile, model_id: str, entry: Any) -> ModelInfo | None:
    """An entry as data; ``None`` where someone else wrote one without a path."""
    path = entry.get("path") if isinstance(entry, Mapping) else None
    if not isinstance(path, str) or not path or "\0" in path:
        return None
    size, used, tags = entry.get("size_bytes"), entry.get("last_used"), entry.get("tags")
    revision = entry.get("revision")
    return ModelInfo(
        model_id=model_id,
        path=file.root / path,  # an absolute path stays as it is
        revision=revision if isinstance(revision, str) else "",
        size_bytes=size if type(size) is int and size >= 0 else 0,
        last_used=float(used) if type(used) in (int, float) and 0 <= used < 2**36 else 0.0,
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
    )


def _size_of(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def _is_ours(path: Path, root: Path, others: Sequence[ModelInfo]) -> bool:
    """Whether deleting ``path`` touches nothing but this one model of the registry."""
    # The link itself may be deleted, never what it points to: so only the parent is resolved.
    place = path.parent.resolve() / path.name
    base = root.resolve()
    if place.name in ("", "..") or place == base or not place.is_relative_to(base):
        return False
    if place in (base / "metadata.json", base / "metadata.json.lock"):
        return False
    return not any(
        other.path.resolve().is_relative_to(place) or place.is_relative_to(other.path.resolve())
        for other in others
    )


def _delete(place: Path) -> None:
    import shutil

    try:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    except OSError as error:
        raise ModelRegistryError(
            f"The model is forgotten, but {error.filename or place} could not be deleted: "
            f"{error.strerror}.",
            hint=f"Delete {place} yourself.",
        ) from error
