"""Entries of ``metadata.json``, as data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import ModelRegistryError
from .registry_root import Origin, RegistryRoot, is_foreign


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One registered model."""

    model_id: str
    #: Absolute; a directory or a GGUF file.
    path: Path
    #: As it was asked for (a branch, a tag, a commit); empty for the default branch.
    revision: str = ""
    size_bytes: int = 0
    #: Seconds since 1970.
    last_used: float = 0.0
    tags: tuple[str, ...] = ()
    #: The commit that was downloaded, where it is known.
    commit: str = ""
    #: Which registry it is from.
    origin: Origin = "sagellm"
    #: The directory of that registry.
    root: Path | None = None
    #: Whether the registry names a relative path that leads out of its own directory. Nothing
    #: of ours writes such an entry: it is shown, and neither used nor deleted.
    is_stray: bool = False

    @property
    def size_mb(self) -> float:
        """Size in units of 1024 x 1024 bytes."""
        return self.size_bytes / (1024 * 1024)

    @property
    def last_used_iso(self) -> str | None:
        """Last use as ISO 8601, UTC, in whole seconds; ``None`` if it never was."""
        if not self.last_used:
            return None
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.last_used))

    @property
    def is_foreign(self) -> bool:
        """Whether another program registered it: it is read, and nothing of it is changed."""
        return is_foreign(self.origin)

    @property
    def problem(self) -> str:
        """Why it cannot be used, as one sentence; empty when it is whole. Reads headers."""
        if self.is_stray:
            return f"The registry names a relative path that leads out of it: {self.path}."
        from .completeness import why_incomplete

        return why_incomplete(self.path)

    @property
    def is_complete(self) -> bool:
        """Whether all of it is on disk; read from headers and sizes at each call."""
        return not self.problem

    @property
    def state(self) -> Literal["ready", "missing", "incomplete"]:
        """In one word; ``missing`` if there is nothing at its path."""
        from .local_path import exists

        if not exists(self.path):
            return "missing"
        return "ready" if self.is_complete else "incomplete"

    def to_dict(self) -> dict[str, Any]:
        """The entry as plain data, without looking at the model."""
        return {
            "model_id": self.model_id,
            "path": str(self.path),
            "revision": self.revision,
            "size_bytes": self.size_bytes,
            "last_used": self.last_used,
            "tags": list(self.tags),
            "commit": self.commit,
            "origin": self.origin,
        }


def read_entry(root: RegistryRoot, model_id: str, entry: Any) -> ModelInfo | None:
    """An entry as data; ``None`` where someone else wrote one without a path."""
    path = entry.get("path") if isinstance(entry, Mapping) else None
    if not isinstance(path, str) or not path or "\0" in path:
        return None
    size, used, tags = entry.get("size_bytes"), entry.get("last_used"), entry.get("tags")
    revision, commit = entry.get("revision"), entry.get("commit")
    return ModelInfo(
        model_id=model_id,
        path=root.path / path,  # an absolute path stays as it is
        revision=revision if isinstance(revision, str) else "",
        size_bytes=size if type(size) is int and 0 <= size < 2**63 else 0,
        last_used=float(used) if type(used) in (int, float) and 0 <= used < 2**36 else 0.0,
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        commit=commit if isinstance(commit, str) else "",
        origin=root.origin,
        root=root.path,
        is_stray=not Path(path).is_absolute() and _leaves(path),
    )


def read_entries(root: RegistryRoot, entries: Mapping[str, Any]) -> list[ModelInfo]:
    """All entries that have a path."""
    found = (read_entry(root, model_id, entry) for model_id, entry in entries.items())
    return [info for info in found if info is not None]


def write_entry(
    path: Path, revision: str, size_bytes: int, last_used: float, tags: Sequence[str], commit: str
) -> dict[str, Any]:
    """An entry as ``metadata.json`` has it."""
    entry: dict[str, Any] = {
        "path": str(path),
        "revision": revision,
        "size_bytes": size_bytes,
        "last_used": last_used,
        "tags": list(tags),
    }
    if commit:
        entry["commit"] = commit
    return entry


def checked_tags(tags: Iterable[str] | None) -> tuple[str, ...]:
    """Tags of a caller, who may pass one alone.

    :raises ModelRegistryError: they are no strings.
    """
    if tags is not None and not isinstance(tags, Iterable):
        raise ModelRegistryError(f"Tags are words, not {tags!r}."[:200], hint='As in ["chat"].')
    words = (tags,) if isinstance(tags, str) else tuple(tags or ())
    if not all(isinstance(word, str) for word in words):
        raise ModelRegistryError(f"Tags are strings, not {words!r}."[:200], hint="Pass words.")
    return words


def size_of(place: Path) -> int:
    """Bytes of a file, or of all files below a directory."""
    if place.is_file():
        return place.stat().st_size
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def _leaves(path: str) -> bool:
    depth = 0
    for part in Path(path).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False
