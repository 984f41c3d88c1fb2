"""Staging directories: where a download grows until it is whole, and the lock on each.

Under the root, ``.downloads/<directory>/`` holds the files of one model and
``.downloads/<directory>.lock`` is locked by whoever works on it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sagellm_core.contract.model import ProgressCallback

from .deletion import WORK_DIRECTORY
from .errors import DiskSpaceError, ModelRegistryError
from .marker import Marker, read_marker
from .model_name import ModelName, is_model_id
from .registry_file import FULL

PARTIAL = ".part"
_WEIGHTS = (".safetensors", ".safetensors.index.json", ".gguf")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A download that broke off."""

    model_id: str
    #: Bytes that arrived, and bytes of the whole.
    done: int
    total: int


def staging_directory(root: Path, name: ModelName) -> Path:
    """Where the download of a model grows."""
    return root / WORK_DIRECTORY / name.directory


@contextmanager
def staging_lock(
    root: Path, name: ModelName, on_progress: ProgressCallback | None
) -> Iterator[None]:
    """Hold the download of one model; waits as long as another process or thread has it.

    The lock is the operating system's: a process that is killed gives it back.

    :raises ModelRegistryError: there can be no lock under ``root``.
    """
    lock = _open_lock(root, name)
    try:
        waited = False
        while not _try(lock, root):
            if on_progress is not None:
                on_progress(f"waiting for another download of {name.key}", 0, 0)
            if not waited:
                import logging

                logging.getLogger("sagellm.models").info(
                    "Waiting for another process that downloads %s.", name.key
                )
            waited = True
            time.sleep(0.1)
        yield
    finally:
        os.close(lock)


def discard_staging(root: Path, model_id: str) -> bool:
    """Delete what an unfinished download left, unless it is going on right now.

    :returns: whether there was any.
    """
    if not is_model_id(model_id):
        return False
    name = ModelName.parse(model_id)
    place = staging_directory(root, name)
    if not os.path.lexists(place):
        return False
    lock = _open_lock(root, name)
    try:
        marker = read_marker(place)
        if not _try(lock, root) or (marker is not None and marker.model_id != name.key):
            return False
        clear(place)
        return True
    finally:
        os.close(lock)


def unfinished_downloads(root: Path) -> list[Unfinished]:
    """Downloads under ``root`` that broke off, or are going on."""
    found = []
    try:
        places = sorted((root / WORK_DIRECTORY).iterdir())
    except OSError:
        return []
    for place in places:
        marker = read_marker(place)
        if marker is None:
            continue
        done = sum(_bytes_at(place, name) for name in marker.files)
        found.append(Unfinished(marker.model_id, done, sum(marker.files.values())))
    return found


def prepare(place: Path, marker: Marker, *, afresh: bool, unverifiable: Collection[str]) -> None:
    """Make a staging directory ready for a download, with what it already has of it.

    :param marker: what is going to be there.
    :param afresh: whether nothing that is there may be used.
    :param unverifiable: files that have no digest: those of another commit cannot be told.
    :raises ModelRegistryError: it cannot be made.
    """
    before = read_marker(place)
    if place.is_symlink() or afresh or (before is not None and before.model_id != marker.model_id):
        clear(place)
    same = before is not None and before.commit == marker.commit
    kept = {name for name in marker.files if same or name not in unverifiable}
    known = {*marker.files, *(before.files if before else ())}
    try:
        place.mkdir(parents=True, exist_ok=True)
        for entry in place.iterdir():
            name = entry.name.removesuffix(PARTIAL)
            # Weights that the repository does not have now would be taken for a part of the
            # model. Other files may be somebody's own. Nothing is written through a link.
            is_stale = name not in kept and (name in known or name.endswith(_WEIGHTS))
            if entry.is_symlink() or (is_stale and not entry.is_dir()):
                entry.unlink()
        marker.write(place)
    except OSError as error:
        raise unwritable(place, error) from error


def clear(place: Path) -> None:
    """Delete a staging directory.

    :raises ModelRegistryError: it cannot be deleted.
    """
    try:
        if place.is_symlink():
            place.unlink()
        elif place.exists():
            shutil.rmtree(place)
    except OSError as error:
        raise unwritable(place, error) from error


def unwritable(place: Path, error: OSError) -> ModelRegistryError:
    """Says that a file of a download cannot be written."""
    where = error.filename or place
    if error.errno in FULL:
        return DiskSpaceError(
            f"The disk is full: {where} could not be written ({error.strerror}).",
            hint="Free some space and run it again: what arrived is kept, and "
            "`sagellm models rm` deletes it.",
        )
    return ModelRegistryError(
        f"{where} cannot be written: {error.strerror or error}.",
        hint="Check its permissions, or set SAGE_SAGELLM_MODEL_ROOT to a directory that you may "
        "write to.",
    )


def _open_lock(root: Path, name: ModelName) -> int:
    place = root / WORK_DIRECTORY / f"{name.directory}.lock"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        return os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise unwritable(place, error) from error


def _try(lock: int, root: Path) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks
        raise unwritable(root, error) from error
    return True


def _bytes_at(place: Path, name: str) -> int:
    for file in (place / name, place / f"{name}{PARTIAL}"):
        try:
            return file.stat().st_size
        except OSError:
            continue
    return 0
