"""``.sagellm.json`` in each downloaded directory: what it is, should the registry be lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_NAME = ".sagellm.json"
_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What was downloaded into a directory."""

    model_id: str
    #: As it was asked for; empty for the default branch.
    revision: str = ""
    #: What that stood for.
    commit: str = ""
    tags: tuple[str, ...] = ()
    #: Each file's path below the directory, and its bytes.
    files: Mapping[str, int] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        """Put it into ``directory``.

        :raises OSError: it cannot be written.
        """
        value = {
            "model_id": self.model_id,
            "revision": self.revision,
            "commit": self.commit,
            "tags": list(self.tags),
            "files": dict(self.files),
        }
        place = directory / _NAME
        # Not through a link that someone put there.
        place.unlink(missing_ok=True)
        text = json.dumps(value, indent=2, ensure_ascii=False)
        # Tags may have lone surrogates, which JSON says as \udcXX.
        place.write_bytes(text.encode("utf-8", "backslashreplace"))


def read_marker(directory: Path) -> Marker | None:
    """The marker of a directory; ``None`` where there is none that can be read."""
    place = directory / _NAME
    try:
        if place.stat().st_size > _MAX_BYTES:
            return None
        value = json.loads(place.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("model_id"), str):
        return None
    revision, commit = value.get("revision"), value.get("commit")
    tags, files = value.get("tags"), value.get("files")
    return Marker(
        model_id=value["model_id"],
        revision=revision if isinstance(revision, str) else "",
        commit=commit if isinstance(commit, str) else "",
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        files={name: size for name, size in files.items() if type(size) is int}
        if isinstance(files, dict)
        else {},
    )
