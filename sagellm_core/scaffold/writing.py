"""Puts a new repository on disk: all of it, or nothing."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from sagellm_core.contract import ConfigurationError

_ELSEWHERE = "Name another directory with --directory."


def write_repository(texts: Mapping[PurePosixPath, str], place: Path) -> None:
    """Write files below the directory ``place``, which may exist but has none of them.

    They are written beside their place and moved there in the end; when anything goes wrong,
    what was there before is there as it was.

    :param texts: path, relative to ``place``, to content.
    :raises ConfigurationError: one of them is there already, or they cannot be written.
    """
    place = place.absolute()
    made: list[Path] = []
    staging: Path | None = None
    try:
        _check_free(texts, place)
        ground = place
        while not ground.is_dir():
            ground = ground.parent
        # On one file system with the place, so that moving is renaming.
        staging = Path(tempfile.mkdtemp(prefix=".sagellm-new-", dir=ground))
        for path, text in texts.items():
            file = staging / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        _make_directories(place, made)
        for top in _tops(texts):
            _move(staging / top, place / top, made)
    except OSError as error:
        _take_back(made)
        raise _refusal(error, place) from error
    except BaseException:  # Ctrl-C too
        _take_back(made)
        raise
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _tops(texts: Mapping[PurePosixPath, str]) -> list[str]:
    return sorted({path.parts[0] for path in texts})


def _check_free(texts: Mapping[PurePosixPath, str], place: Path) -> None:
    if not place.is_dir() and os.path.lexists(place):
        raise ConfigurationError(f"{place} is there already, and no directory.", hint=_ELSEWHERE)
    there = [top for top in _tops(texts) if os.path.lexists(place / top)]
    if there:
        names = ", ".join(there)
        raise ConfigurationError(
            f"{place} has {names} already, and nothing is written over.", hint=_ELSEWHERE
        )


def _make_directories(place: Path, made: list[Path]) -> None:
    missing = []
    while not place.is_dir():
        missing.append(place)
        place = place.parent
    for each in reversed(missing):
        each.mkdir()
        made.append(each)


def _move(source: Path, target: Path, made: list[Path]) -> None:
    """Move, and note it in ``made``; what came to be there meanwhile is not written over."""
    if source.is_dir():
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)
        made.append(target)
        return
    # A rename would replace a file without a word.
    with target.open("xb") as file:
        made.append(target)
        file.write(source.read_bytes())


def _take_back(made: list[Path]) -> None:
    for each in reversed(made):
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        else:
            each.unlink(missing_ok=True)


def _refusal(error: OSError, place: Path) -> ConfigurationError:
    what = os.strerror(error.errno) if error.errno else str(error)
    where = error.filename if error.errno == errno.EEXIST else place
    return ConfigurationError(f"{where} cannot be written: {what}.", hint=_ELSEWHERE)
