"""What the files of a model hold, as one hash. Each file is read for it once, until it changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

_MEMORY = "hashes.json"
#: Files that are remembered; those that were asked for longest ago are forgotten.
_MOST = 200


def weight_files(path: Path) -> list[Path]:
    """The file itself, or the safetensors files of a directory, in the order of their names."""
    return [path] if path.is_file() else sorted(path.glob("*.safetensors"))


def model_hash(files: Sequence[Path], folder: Path) -> str:
    """A hash of the files' contents.

    :param folder: where it is remembered by path, size, times and inode of each file.
    :raises OSError: a file cannot be read.
    """
    memory = folder / _MEMORY
    known = _read(memory)
    digest = hashlib.sha256()
    fresh = dict(known)
    for path in files:
        identity = _identity(path)
        found = known.get(identity)
        if found is None:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if _identity(path) != identity:
                raise OSError(f"{path} changes while it is read")
        fresh.pop(identity, None)
        fresh[identity] = found
        digest.update(found.encode())
    if fresh != known:
        _write(memory, dict(list(fresh.items())[-_MOST:]))
    return digest.hexdigest()


def _identity(path: Path) -> str:
    found = path.stat()
    times = found.st_mtime_ns, found.st_ctime_ns
    return f"{path.resolve()} {found.st_dev} {found.st_ino} {found.st_size} {times[0]} {times[1]}"


def _read(memory: Path) -> dict[str, str]:
    try:
        found = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        return {}
    return found


def _write(memory: Path, known: dict[str, str]) -> None:
    # Not to be able to is no loss but of time.
    with contextlib.suppress(OSError):
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=memory.parent, prefix=".writing-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(known, file)
            Path(temporary).replace(memory)
        except OSError:
            Path(temporary).unlink()
