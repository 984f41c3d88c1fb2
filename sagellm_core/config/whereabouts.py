"""Where a configuration file is looked for."""

from __future__ import annotations

import os
from pathlib import Path

from sagellm_core.contract import ConfigurationError

#: Names the file; nothing else is looked at then.
VARIABLE = "SAGELLM_CONFIG"


def searched_places() -> list[Path]:
    """The files that are looked for, the first one there wins.

    A project's own, where SAGE's pipelines have it, then the user's, where SAGE has it
    (``config.yaml`` in ``sage`` below ``$XDG_CONFIG_HOME`` or ``~/.config``).
    """
    places = [Path("config.yaml"), Path("config") / "config.yaml"]
    base = os.environ.get("XDG_CONFIG_HOME")
    if base:
        return [*places, Path(base) / "sage" / "config.yaml"]
    try:
        return [*places, Path.home() / ".config" / "sage" / "config.yaml"]
    except RuntimeError:  # a user id without an entry in passwd, and no HOME
        return places


def named_config_file() -> Path | None:
    """The file that ``SAGELLM_CONFIG`` names; ``None`` where it is unset.

    :raises ConfigurationError: it names no file.
    """
    named = os.environ.get(VARIABLE, "").strip()
    if not named:
        return None
    try:
        path = Path(named).expanduser()
    except RuntimeError:
        path = Path(named)
    if not _is_file(path):
        raise ConfigurationError(
            f"{VARIABLE}={named!r} names no file.", hint=f"Correct it, or unset {VARIABLE}."
        )
    return path


def find_config_file() -> Path | None:
    """The file that is used where none was named; ``None``: there is none.

    :raises ConfigurationError: ``SAGELLM_CONFIG`` names no file.
    """
    named = named_config_file()
    if named is not None:
        return named
    return next((place for place in searched_places() if _is_file(place)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a directory that may not be entered, a NUL character
        return False
