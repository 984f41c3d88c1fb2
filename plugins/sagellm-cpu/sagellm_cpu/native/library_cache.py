"""Compiled libraries on disk, so that only the first start compiles. No torch.

One file ``native/<key>-<checksum>.so`` for each set of sources, processor and compiler asked for.
Whatever goes wrong here costs time and nothing else: a file that was changed, or that somebody else
may have written, is not loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from sagellm_cpu.processor import identity

_log = logging.getLogger("sagellm.cpu")
_FOLDER = "native"
_CHECKSUM = 32
#: Bytes that a library takes at most, about.
_ROOM = 2 * 2**20


def build_key(sources: Path, root: Path) -> str:
    """Names what a library is compiled from and for: 32 hexadecimal digits.

    Whose compiler it was is not in it, so that a machine without one can be given the file; only
    ``$CXX`` is, which the user chose.
    """
    digest = hashlib.sha256()
    for path in sorted(sources.iterdir()):
        if path.suffix in (".cpp", ".h"):
            digest.update(f"{path.name}\0".encode())
            digest.update(path.read_bytes())
    machine = (platform.system(), platform.machine(), *platform.libc_ver())
    for part in (*machine, os.environ.get("CXX", ""), identity(root)):
        digest.update(f"\0{part}".encode())
    return digest.hexdigest()[:32]


class LibraryCache:
    """The files of one key.

    :param directory: may be missing, read-only, full or ``None``; nothing is kept then.
    """

    def __init__(self, directory: Path | None, key: str) -> None:
        self._folder = None if directory is None else directory / _FOLDER
        self._key = key

    @property
    def folder(self) -> Path | None:
        """Where the files are."""
        return self._folder

    def find(self) -> Path | None:
        """The library, if there is one that is whole and ours."""
        if self._folder is None or not trusted(self._folder):
            return None
        for path in sorted(self._folder.glob(f"{self._key}-*.so")):
            if not trusted(path):
                continue
            try:
                checksum = _checksum(path)
            except OSError:
                continue
            if path.stem == f"{self._key}-{checksum}":
                return path
            _log.warning("The compiled kernels in %s are damaged; they are compiled again.", path)
            self.discard(path)
        return None

    def keep(self, built: Path) -> Path | None:
        """Copy a new library into the cache, if that is possible; where it is now."""
        if self._folder is None:
            return None
        temporary = ""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not trusted(self._folder):
                raise PermissionError(1, "other users may write there")
            # Written beside and moved over: another process sees all of it or nothing.
            handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".writing-")
            with os.fdopen(handle, "wb") as file, built.open("rb") as source:
                shutil.copyfileobj(source, file)
            Path(temporary).chmod(0o755)
            path = self._folder / f"{self._key}-{_checksum(built)}.so"
            Path(temporary).replace(path)
        except OSError as error:
            if temporary:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()
            _log.warning(
                "The compiled kernels are not kept, and are compiled at each start: %s cannot be "
                "written (%s). Set SAGELLM_CACHE_DIR to a directory that can.",
                self._folder,
                error.strerror or error,
            )
            return None
        return path

    def discard(self, path: Path) -> None:
        """Remove a file that is not right, if that is possible."""
        with contextlib.suppress(OSError):
            path.unlink()

    def writable(self) -> bool:
        """Whether a library could be kept, as far as can be told before."""
        if self._folder is None:
            return False
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                return trusted(self._folder) and shutil.disk_usage(self._folder).free >= _ROOM
        except OSError:
            return False

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[bool]:
        """Hold the right to make this key's file: ``False`` where another process has it.

        One that is killed gives it back. Where there can be no lock, everyone has it.
        """
        assert self._folder is not None, "only what is kept is made for others"
        lock = FileLock(self._folder / f"{self._key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        except (OSError, NotImplementedError):
            yield True
            return
        try:
            yield True
        finally:
            lock.release()


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_CHECKSUM]


def trusted(path: Path) -> bool:
    """Whether only this user and the administrator can have written it."""
    try:
        found = path.stat()
    except OSError:
        return False
    shared = stat.S_IWGRP | stat.S_IWOTH
    return found.st_uid in (os.geteuid(), 0) and not found.st_mode & shared
