"""Documents on disk, and the chunks they are cut into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sagellm_core.contract import ConfigurationError

#: What a directory is searched for; other files are left alone.
SUFFIXES = (".md", ".txt")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document."""

    text: str
    #: The document's path, below the directory that was read.
    source: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that was found, and how well it matches; scores of one search compare."""

    chunk: Chunk
    score: float


def document_files(path: str | os.PathLike[str]) -> list[Path]:
    """The documents: a file itself, or all ``.md`` and ``.txt`` below a directory, by name.

    :raises ConfigurationError: there is nothing at ``path``, or no document below it.
    """
    root = Path(path).expanduser()
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise ConfigurationError(
            f"There are no documents at {root}.",
            hint="Set 'documents' to a text file, or to a directory with .md and .txt files.",
        )
    found = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES)
    files = [file for file in found if file.is_file()]
    if not files:
        raise ConfigurationError(
            f"No .md or .txt file is in {root}.",
            hint="Set 'documents' to a text file, or to a directory with .md and .txt files.",
        )
    return files


def read_chunks(path: str | os.PathLike[str], size: int = 512, overlap: int = 50) -> list[Chunk]:
    """The documents at ``path``, cut into chunks.

    :param size: most characters of a chunk.
    :param overlap: characters that a chunk may share with the one before.
    :raises ConfigurationError: no documents, one that is not UTF-8 or cannot be read, only white
        space in all of them, or an overlap that is not below the size.
    """
    if size < 1 or not 0 <= overlap < size:
        raise ConfigurationError(
            f"Chunks of {size} characters cannot overlap by {overlap}.",
            hint="Set chunk_size to 1 or more, and chunk_overlap to less than it.",
        )
    root = Path(path).expanduser()
    chunks = [
        Chunk(text, file.name if file == root else file.relative_to(root).as_posix())
        for file in document_files(root)
        for text in cut(_read(file), size, overlap)
    ]
    if not chunks:
        raise ConfigurationError(
            f"The documents at {root} have no text.", hint="Put text into them."
        )
    return chunks


def cut(text: str, size: int, overlap: int) -> Iterator[str]:
    """Pieces of ``text`` of at most ``size`` characters, without the white space around them.

    A piece ends at white space where there is some in its second half, and the next one begins
    about ``overlap`` characters before that end, at a word where there is one.
    """
    start = 0
    while start < len(text):
        end = min(start + size, len(text))
        if end < len(text):
            end = _space_before(text, start + size // 2 + 1, end) or end
        piece = text[start:end].strip()
        if piece:
            yield piece
        if end == len(text):
            return
        back = max(end - overlap, start + 1)
        start = _space_before(text, start + 1, back) or back if overlap else end


def _space_before(text: str, low: int, high: int) -> int | None:
    """The last position in [low, high] right before which white space stands."""
    return next((at for at in range(high, low - 1, -1) if text[at - 1].isspace()), None)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{file} is not UTF-8 text (byte {error.start}).",
            hint="Convert it, as in: iconv -f GB18030 -t UTF-8 OLD > NEW, or move it away.",
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error.strerror}.", hint="Mend its permissions, or move it."
        ) from error
