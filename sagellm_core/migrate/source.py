"""Reading a file as text, and writing it back with all that is not text kept."""

from __future__ import annotations

import codecs
import io
import os
import tempfile
import tokenize
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .finding import NotUnderstoodError
from .walk import Kind

#: Nobody writes such a file by hand, and parsing it would take minutes.
MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """The content of a file. Line endings in ``text`` are the file's own."""

    data: bytes
    text: str
    encoding: str
    bom: bool

    def encode(self, text: str) -> bytes:
        """``text`` in the file's encoding.

        :raises NotUnderstoodError: the encoding lacks one of its characters.
        """
        try:
            data = text.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise NotUnderstoodError(
                f"{text[error.start : error.end]!r} cannot be written in {self.encoding}", 1
            ) from error
        return codecs.BOM_UTF8 + data if self.bom else data


def decode(data: bytes, kind: Kind) -> Source:
    """The text of ``data``: UTF-8, or, for Python, what its coding line says.

    :raises NotUnderstoodError: it is not of that encoding, or has NUL characters.
    """
    bom = data.startswith(codecs.BOM_UTF8)
    encoding = "utf-8"
    if kind is Kind.PYTHON:
        try:
            encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        except SyntaxError as error:
            # Without a coding line it should be UTF-8 and is not; where, is said below.
            if "unknown encoding" in str(error.msg):
                raise NotUnderstoodError(str(error.msg), 1) from error
        encoding = "utf-8" if encoding == "utf-8-sig" else encoding
    body = data[len(codecs.BOM_UTF8) :] if bom else data
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise NotUnderstoodError(
            f"byte {error.start} is not {encoding.upper()}: {body[error.start]:#04x}", line
        ) from error
    if "\0" in text:
        raise NotUnderstoodError("it has NUL characters", text.count("\n", 0, text.index("\0")) + 1)
    return Source(data, text, encoding, bom)


def replace_file(path: Path, before: bytes, after: bytes) -> None:
    """Write ``after`` in one step; mode and, where permitted, owner stay. Links are followed.

    :param before: what the file must still hold.
    :raises OSError: it cannot be written, or someone else has written it meanwhile.
    """
    target = path.resolve()
    if target.read_bytes() != before:
        raise OSError("it was changed while it was being migrated")
    if not os.access(target, os.W_OK):
        raise PermissionError("it is read-only")
    status = target.stat()
    descriptor, name = tempfile.mkstemp(prefix=".sagellm-migrate-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(after)
            file.flush()
            os.fsync(file.fileno())
        temporary = Path(name)
        temporary.chmod(status.st_mode & 0o7777)
        with suppress(OSError):
            os.chown(name, status.st_uid, status.st_gid)
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
