"""Converted tokenizers on disk, so that the second start need not convert.

One file per vocabulary, named by a hash of all that it was made from. Whatever goes wrong here
costs time and nothing else: a file that is not as it was written is made again, a directory that
cannot be written is done without.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from pathlib import Path

import tokenizers

_log = logging.getLogger("sagellm.tokenization")
_FOLDER = "tokenizers"


class TokenizerCache:
    """Pipelines by key, in ``directory/tokenizers/``.

    :param directory: may be missing, read-only or ``None``; nothing is kept then.
    """

    def __init__(self, directory: Path | None) -> None:
        self._folder = None if directory is None else directory / _FOLDER

    def load(self, key: str) -> tokenizers.Tokenizer | None:
        """The pipeline kept under ``key``, or ``None``."""
        path = self._path(key)
        if path is None:
            return None
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            _log.warning("The cached tokenizer %s cannot be read: %s.", path, _said(error))
            return None
        # The library is lenient about what it reads; the last line says that this is what was
        # written, all of it.
        body, _, last = text.rpartition("\n")
        if last == _last_line(key, body):
            try:
                return tokenizers.Tokenizer.from_str(body)
            except Exception as error:  # the library raises a bare Exception
                _log.warning("The cached tokenizer %s is damaged (%s).", path, error)
                return None
        _log.warning("The cached tokenizer %s is damaged; it is made again.", path)
        return None

    def save(self, key: str, pipeline: tokenizers.Tokenizer) -> None:
        """Keep ``pipeline`` under ``key``, if that is possible."""
        path = self._path(key)
        if path is None:
            return
        temporary = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written beside and moved over: another process sees all of it or nothing.
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                body = pipeline.to_str()
                file.write(f"{body}\n{_last_line(key, body)}")
            Path(temporary).replace(path)
        except OSError as error:
            _log.warning(
                "The converted tokenizer is not kept, and is made anew at each start: %s cannot be "
                "written (%s). Set SAGELLM_CACHE_DIR to a directory that can.",
                path.parent,
                _said(error),
            )
            if temporary:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()

    def _path(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{key}.json"


def _last_line(key: str, body: str) -> str:
    return f"{key} {hashlib.sha256(body.encode()).hexdigest()}"


def _said(error: Exception) -> str:
    # Without the path, which the sentence has.
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
