"""The registry's file: read without a lock, changed under one, replaced as a whole."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DiskSpaceError, ModelRegistryError
from .registry_root import RegistryRoot

_log = logging.getLogger("sagellm.models")
#: A hundred thousand models; what is larger is no registry, and is not read.
_MAX_BYTES = 64 * 1024 * 1024
#: What writing to a full place ends in.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class _CorruptError(Exception):
    """``args[0]`` says what is wrong with the file."""


@dataclass(frozen=True, slots=True)
class RegistryFile:
    """``metadata.json`` under a root."""

    root: RegistryRoot
    #: How long another process may hold the lock.
    lock_seconds: float = 10.0

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.root.path / "metadata.json"

    def read(self) -> dict[str, Any]:
        """Its entries.

        A corrupt file is set aside and built anew, with a warning; where that is not possible,
        or not ours to do, it is built in memory at each call.

        :raises ModelRegistryError: it cannot be read.
        """
        try:
            return self._parse()
        except _CorruptError as corrupt:
            if not self.root.is_foreign:
                try:
                    with self._locked():
                        return self._parse_or_rebuild()
                except ModelRegistryError:
                    pass
            entries = self._rebuilt()
            self._warn(f"{corrupt}, and is left as it is; {len(entries)} models were found on disk")
            return entries

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """Its entries, written back when the block ends without an exception.

        :raises ModelRegistryError: it cannot be locked or written.
        :raises DiskSpaceError: the disk is full; the file is as it was before.
        """
        try:
            self.root.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        with self._locked():
            entries = self._parse_or_rebuild()
            before = json.dumps(entries)
            yield entries
            if json.dumps(entries) != before:
                self._write(entries)

    def _parse(self) -> dict[str, Any]:
        try:
            found = self.path.stat()
            if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
                raise ModelRegistryError(
                    f"The model registry {self.path} cannot be read: it is no regular file.",
                    hint="Move it away, or set SAGE_SAGELLM_MODEL_ROOT to another directory.",
                )
            if found.st_size > _MAX_BYTES:
                raise _CorruptError(f"has {found.st_size} bytes, and {_MAX_BYTES} are the most")
            value = json.loads(self.path.read_bytes().decode("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise ModelRegistryError(
                f"The model registry {self.path} cannot be read: {error.strerror or error}.",
                hint="Check its permissions, or set SAGE_SAGELLM_MODEL_ROOT.",
            ) from error
        except (ValueError, RecursionError) as error:
            raise _CorruptError("is corrupt") from error
        if not isinstance(value, dict):
            raise _CorruptError("is corrupt")
        return value

    def _parse_or_rebuild(self) -> dict[str, Any]:
        try:
            return self._parse()
        except _CorruptError as corrupt:
            entries = self._rebuilt()
            number = 1
            while (aside := self.path.with_name(f"metadata.json.corrupt-{number}")).exists():
                number += 1
            try:
                self.path.rename(aside)
            except OSError as error:
                raise self._unwritable(error) from error
            self._write(entries)
            self._warn(f"{corrupt} and is now {aside.name}; {len(entries)} models were found again")
            return entries

    def _rebuilt(self) -> dict[str, Any]:
        from .rebuild import rebuild

        try:
            small = self.path.stat().st_size <= _MAX_BYTES
            text = self.path.read_bytes().decode("utf-8", "replace") if small else ""
        except OSError:
            text = ""
        return rebuild(self.root.path, text)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            # The file stays: whoever waits for a lock on a file that is deleted meanwhile would
            # get it beside the next one, who makes a new file.
            lock = os.open(self.root.path / "metadata.json.lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._wait_for(lock)
            yield
        finally:
            os.close(lock)  # which gives the lock back, as the end of the process would

    def _wait_for(self, lock: int) -> None:
        end = time.monotonic() + self.lock_seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise ModelRegistryError(
                        f"The model registry {self.path} was locked by another process for "
                        f"{self.lock_seconds:g} s.",
                        hint="Try again when the other process is done.",
                    ) from error
            except OSError as error:  # a file system without locks
                raise self._unwritable(error) from error
            time.sleep(0.01)

    def _write(self, entries: dict[str, Any]) -> None:
        # One name is enough, as only the holder of the lock writes; what a killed process left
        # under it, or a link that someone put there, goes first.
        new = self.root.path / ".metadata.json.new"
        try:
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                # A path that is not UTF-8 has lone surrogates in it, which JSON says as \udcXX.
                text = json.dumps(entries, indent=2, ensure_ascii=False)
                file.write(text.encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ModelRegistryError:
        message = (
            f"The model registry under {self.root.path} cannot be written: "
            f"{error.strerror or error}."
        )
        if error.errno in FULL:
            return DiskSpaceError(message, hint="Free some space; nothing was changed.")
        return ModelRegistryError(
            message,
            hint="Check its permissions, or set SAGE_SAGELLM_MODEL_ROOT to a directory that you "
            "may write to.",
        )

    def _warn(self, what: str) -> None:
        _log.warning("The model registry %s %s.", self.path, what)
