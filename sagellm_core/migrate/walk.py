"""Which files below the given paths are looked at, and as what."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from sagellm_core.contract import ConfigurationError

#: Never entered, unless named as a path.
SKIPPED_DIRECTORIES = frozenset(
    (
        ".git",
        ".hg",
        ".mypy_cache",
        ".nox",
        ".pytest_cache",
        ".ruff_cache",
        ".svn",
        ".tox",
        ".venv",
        "__pycache__",
        "build",
        "dist",
        "node_modules",
        "site-packages",
        "venv",
    )
)


class Kind(StrEnum):
    """What a file is read as."""

    PYTHON = "python"
    YAML = "yaml"
    SHELL = "shell"
    MAKEFILE = "makefile"
    DOCKERFILE = "dockerfile"
    REQUIREMENTS = "requirements"
    CONSTRAINTS = "constraints"
    PYPROJECT = "pyproject"
    #: Only looked through for old names, to list them.
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Found:
    """A file to look at."""

    path: Path
    kind: Kind


def find_files(paths: Sequence[Path], exclude: Sequence[str] = ()) -> list[Found]:
    """Files below ``paths``, each once, in the order of the paths and of names.

    Links inside a directory are not followed. A path that is a file is looked at whatever its
    name; where that tells nothing, as a shell script if it begins with a shell's ``#!``.

    :param exclude: globs, matched against the path below the given one and against each name.
    :raises ConfigurationError: a path is not there, or cannot be listed.
    """
    found: dict[Path, Found] = {}
    for path in paths:
        if not path.exists():
            raise ConfigurationError(
                f"There is no file or directory {str(path)!r}.",
                hint="Name files or directories that exist.",
            )
        below = _walk(path, exclude) if path.is_dir() else iter([path])
        for each in below:
            kind = kind_of(each)
            if kind is not None and each.is_file():
                # A file may be named twice, and through links.
                real = each.resolve()
                found.setdefault(real, Found(each, kind))
    return list(found.values())


def kind_of(path: Path) -> Kind | None:
    """What a file is, by its name, else by its first line; ``None`` for what is not looked at."""
    name = path.name.lower()
    suffix = path.suffix.lower()
    if suffix in (".py", ".pyi", ".pyw"):
        return Kind.PYTHON
    if suffix in (".yaml", ".yml"):
        return Kind.YAML
    if suffix in (".sh", ".bash", ".zsh", ".ksh"):
        return Kind.SHELL
    if name in ("makefile", "gnumakefile") or suffix == ".mk":
        return Kind.MAKEFILE
    if name.startswith(("dockerfile", "containerfile")) or suffix == ".dockerfile":
        return Kind.DOCKERFILE
    if suffix in (".txt", ".in"):
        if "constraints" in name:
            return Kind.CONSTRAINTS
        if "requirements" in name or path.parent.name == "requirements":
            return Kind.REQUIREMENTS
        return None
    if name == "pyproject.toml":
        return Kind.PYPROJECT
    if suffix == ".ipynb" or name in ("setup.cfg", "pipfile"):
        return Kind.OTHER
    if not suffix:
        return _by_first_line(path)
    return None


def _by_first_line(path: Path) -> Kind | None:
    try:
        if not path.is_file():  # a pipe would wait for ever
            return None
        with path.open("rb") as file:
            first = file.read(128).split(b"\n")[0]
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return None
    if b"python" in first:
        return Kind.PYTHON
    program = first[2:].split()[-1:] or [b""]
    return Kind.SHELL if program[0].rpartition(b"/")[2] in _SHELLS else None


_SHELLS = (b"sh", b"bash", b"dash", b"zsh", b"ksh")


def _walk(root: Path, exclude: Sequence[str]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise ConfigurationError(
            f"The directory {error.filename!r} cannot be listed: {error.strerror}.",
            hint="Give access to it, or leave it out with --exclude.",
        )

    for directory, subdirectories, names in os.walk(root, onerror=refuse):
        here = Path(directory)
        subdirectories[:] = sorted(
            name
            for name in subdirectories
            if name not in SKIPPED_DIRECTORIES
            and not name.endswith(".egg-info")
            and not _excluded((here / name).relative_to(root), exclude)
            and not (here / name).is_symlink()
            and not (here / name / "pyvenv.cfg").exists()
        )
        for name in sorted(names):
            path = here / name
            if not path.is_symlink() and not _excluded(path.relative_to(root), exclude):
                yield path


def _excluded(path: Path, globs: Sequence[str]) -> bool:
    text = PurePosixPath(path).as_posix()
    return any(
        fnmatch(text, glob.rstrip("/")) or fnmatch(path.name, glob.rstrip("/")) for glob in globs
    )
