"""Small files that a kernel makes up: sysfs and procfs. One that cannot be read is missing."""

from __future__ import annotations

from pathlib import Path

#: Bytes that are read of a file: such files are short, and another must not fill the memory.
_LONGEST = 64 * 1024


def read_text(path: Path) -> str | None:
    """A file's text without white space around it; ``None`` when it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST)
    except (OSError, ValueError):  # ValueError: a NUL byte in the path
        return None
    return raw.decode("utf-8", "replace").strip("\0").strip()


def read_number(path: Path) -> int | None:
    """The number in a file, decimal or with ``0x``; ``None`` when there is none."""
    return number(read_text(path) or "")


def read_fields(path: Path, separator: str | None = None) -> dict[str, str]:
    """Lines of a key and a value; the first of equal keys counts. Empty when unreadable.

    :param separator: what stands between the two, as ``:``; ``None``: white space.
    """
    fields: dict[str, str] = {}
    for line in (read_text(path) or "").splitlines():
        parts = line.split(separator, 1)
        if len(parts) == 2:
            fields.setdefault(parts[0].strip(), parts[1].strip())
    return fields


def number(text: str) -> int | None:
    """A number as such files write it, decimal or with ``0x``; ``None`` for anything else."""
    try:
        return int(text, 16) if text.lower().startswith("0x") else int(text, 10)
    except ValueError:
        return None
