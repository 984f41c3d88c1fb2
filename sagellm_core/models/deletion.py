"""Deleting models from disk: only what is the registry's own, and out of sight at once."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from .entry import ModelInfo
from .errors import ModelRegistryError

#: Under the root: staging directories and locks of downloads.
WORK_DIRECTORY = ".downloads"
#: Under the root: what is being deleted. Beside the models, as on a full disk no directory can
#: be made for it.
_PREFIX = ".trash-"
#: Nobody who moved a model aside is still undecided about it after this many seconds.
_LEFT_BEHIND_S = 600.0


def is_ours(path: Path, root: Path, others: Sequence[ModelInfo]) -> bool:
    """Whether deleting ``path`` touches nothing but this one model of the registry.

    :param root: the registry's directory.
    :param others: every other model that is registered there.
    """
    # The link itself may be deleted, never what it points to: so only the parent is resolved.
    place = path.parent.resolve() / path.name
    base = root.resolve()
    if place.name in ("", "..") or place == base or not place.is_relative_to(base):
        return False
    if place.parent == base and place.name.startswith(("metadata.json", ".")):
        return False
    if place.is_relative_to(base / WORK_DIRECTORY):
        return False
    return not any(
        other.path.resolve().is_relative_to(place) or place.is_relative_to(other.path.resolve())
        for other in others
    )


def move_aside(place: Path, root: Path) -> Path | None:
    """Take a model out of sight, to be deleted later; ``None`` where nothing is there.

    Renaming takes no time: so the registry's lock need not be held while gigabytes are freed.

    :raises ModelRegistryError: it cannot be moved.
    """
    if not os.path.lexists(place):
        return None
    aside = root / f"{_PREFIX}{uuid.uuid4().hex}"
    try:
        place.rename(aside)
    except OSError as error:
        raise ModelRegistryError(
            f"{place} cannot be deleted: {error.strerror or error}.",
            hint="Check the permissions of its directory.",
        ) from error
    return aside


def delete_aside(aside: Path) -> None:
    """Delete what was moved aside, and what processes left that were killed before doing so.

    :raises ModelRegistryError: some of it stays.
    """
    _delete(aside)
    for place in aside.parent.glob(f"{_PREFIX}*"):
        if _is_left_behind(place):
            _delete(place)
    if os.path.lexists(aside):
        raise ModelRegistryError(
            f"The model is forgotten, but some of its files could not be deleted: {aside}.",
            hint=f"Delete {aside} yourself.",
        )


def _is_left_behind(place: Path) -> bool:
    # What another process moved aside a moment ago it may yet have to put back.
    try:
        return time.time() - place.lstat().st_ctime > _LEFT_BEHIND_S
    except OSError:
        return False


def _delete(place: Path) -> None:
    # Several processes may be at it at the same time.
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        try:
            place.unlink(missing_ok=True)
        except OSError:
            return  # the caller sees that it is still there
