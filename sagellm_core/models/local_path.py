"""Paths that a user typed."""

from __future__ import annotations

from pathlib import Path

from sagellm_core.contract.errors import ModelNotFoundError


def expand(text: str) -> Path:
    """The path that ``text`` writes, its home directory spelt out."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # "~someone" whose home directory is unknown
        return Path(text)


def exists(place: Path) -> bool:
    """Whether something is there and can be looked at."""
    try:
        place.stat()
    except (OSError, ValueError):  # a link loop or a name too long is no model either
        return False
    return True


def missing_path_error(text: str, place: Path) -> ModelNotFoundError:
    """Says that nothing is at ``place``, which was typed as ``text``, and what may be meant."""
    import difflib

    parent = place.parent
    try:
        siblings = [entry.name for entry in parent.iterdir()]
    except OSError:
        missing = parent
        while not exists(missing.parent) and missing.parent != missing:
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
