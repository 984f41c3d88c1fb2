"""The text of a configuration file."""

from __future__ import annotations

import codecs
import os
import stat
from pathlib import Path

from .problem import Place, Problem, ProblemFound

#: Bytes. Far above any configuration, and read by PyYAML in some seconds.
LARGEST = 1024 * 1024

_UTF16 = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def expand(path: str | os.PathLike[str]) -> Path:
    """The path, ``~`` expanded.

    :raises ProblemFound: it names no place at all.
    """
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str):
        message = f"a path is text, and {path!r:.60} is of type {type(path).__name__}."
        raise ProblemFound(Problem(Path(), None, message, "Name a file."))
    if not text or "\0" in text:
        what = "has a NUL character" if text else "is empty"
        raise ProblemFound(
            Problem(Path(text.replace("\0", "?")), None, f"the path {what}.", "Name a file.")
        )
    try:
        return Path(text).expanduser()
    except RuntimeError:
        hint = "Write the path out in full."
        raise ProblemFound(
            Problem(Path(text), None, "its home directory cannot be found.", hint)
        ) from None


def read_bytes(path: Path) -> bytes:
    """The content of a file that may be a configuration.

    :raises ProblemFound: it is missing, unreadable, no regular file, or too large.
    """
    try:
        # Not blocking: opening a pipe that nobody writes to would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
                raise _whole(path, f"is {kind}.", "Name a YAML file.")
            with os.fdopen(handle, "rb", closefd=False) as file:
                data = file.read(LARGEST + 1)
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise _whole(path, "there is no such file.", "Check the path.") from None
    except OSError as error:
        raise _whole(path, f"cannot be read: {error.strerror}.", "Check the file.") from None
    if len(data) > LARGEST:
        raise _whole(
            path,
            f"has {max(status.st_size, len(data))} bytes; at most {LARGEST} are read.",
            "A configuration is some lines long. Is this the right file?",
        )
    return data


def decode(path: Path, data: bytes) -> str:
    """The text of a file; UTF-8, or UTF-16 with a byte order mark, as YAML has it.

    :raises ProblemFound: other bytes; with their offset.
    """
    encoding = encoding_of(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start]
        start = before.rfind(b"\n") + 1
        column = len(before[start:].decode(encoding, "replace")) + 1
        shown = f"byte {error.start} is 0x{data[error.start]:02x}"
        raise ProblemFound(
            Problem(
                path,
                Place(before.count(b"\n") + 1, column),
                f"the file is not {'UTF-8' if encoding == 'utf-8' else 'UTF-16'}: {shown}.",
                "Save it as UTF-8, as with: iconv -f latin1 -t utf-8",
            )
        ) from None


def encoding_of(data: bytes) -> str:
    """The encoding that YAML's rules give these bytes."""
    return next((name for mark, name in _UTF16 if data.startswith(mark)), "utf-8")


def _whole(path: Path, message: str, hint: str) -> ProblemFound:
    return ProblemFound(Problem(path, None, message, hint))
