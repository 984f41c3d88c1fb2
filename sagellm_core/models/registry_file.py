"""The registry's file: read without a lock, changed under one, replaced as a whole."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ModelRegistryError


def model_root() -> Path:
    """``$SAGE_SAGELLM_MODEL_ROOT``, or ``~/.sage/models/sagellm``; read anew at each call."""
    configured = os.environ.get("SAGE_SAGELLM_MODEL_ROOT", "").strip()
    try:
        if configured:
            return Path(configured).expanduser().absolute()
        return Path("~/.sage/models/sagellm").expanduser()
    except RuntimeError as error:
        raise ModelRegistryError(
            f"The model registry's place cannot be told: {error}",
            hint="Set SAGE_SAGELLM_MODEL_ROOT to a directory.",
        ) from error


@dataclass(frozen=True, slots=True)
class RegistryFile:
    """``metadata.json`` under ``root``."""

    root: Path
    #: How long another process may hold the lock.
    lock_seconds: float = 10.0

    @classmethod
    def at(cls, root: Path | str | None) -> RegistryFile:
        """The file under ``root``, or under :func:`model_root`."""
        return cls(model_root() if root is None else Path(root).expanduser().absolute())

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.root / "metadata.json"

    def read(self) -> dict[str, Any]:
        """Its entries. A corrupt file is set aside with a warning and counts as empty.

        :raises ModelRegistryError: it cannot be read.
        """
        entries = self._parse()
        if entries is None:
            try:
                with self._locked():
                    entries = self._parse_or_set_aside()
            except ModelRegistryError:
                self._warn("is corrupt, and cannot be set aside; it counts as empty")
                entries = {}
        return entries

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """Its entries, written back when the block ends without an exception.

        :raises ModelRegistryError: it cannot be locked or written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        with self._locked():
            entries = self._parse_or_set_aside()
            before = json.dumps(entries)
            yield entries
            if json.dumps(entries) != before:
                self._write(entries)

    def _parse(self) -> dict[str, Any] | None:
        """The entries, or ``None`` when the file is corrupt."""
        try:
            value = json.loads(self.path.read_bytes().decode("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise ModelRegistryError(
                f"The model registry {self.path} cannot be read: {error.strerror or error}.",
                hint="Check its permissions, or set SAGE_SAGELLM_MODEL_ROOT.",
            ) from error
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def _parse_or_set_aside(self) -> dict[str, Any]:
        entries = self._parse()
        if entries is not None:
            return entries
        number = 1
        while (aside := self.path.with_name(f"metadata.json.corrupt-{number}")).exists():
            number += 1
        try:
            self.path.rename(aside)
        except OSError as error:
            raise self._unwritable(error) from error
        self._warn(f"was corrupt and is now {aside.name}; a new registry begins")
        return {}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            # The file stays: whoever waits for a lock on a file that is deleted meanwhile would
            # get it beside the next one, who makes a new file.
            lock = os.open(self.root / "metadata.json.lock", os.O_RDWR | os.O_CREAT, 0o666)
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
            time.sleep(0.02)

    def _write(self, entries: dict[str, Any]) -> None:
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=self.root, prefix=".metadata-", delete=False
            ) as file:
                temporary = Path(file.name)
                json.dump(entries, file, indent=2, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> ModelRegistryError:
        return ModelRegistryError(
            f"The model registry under {self.root} cannot be written: {error.strerror or error}.",
            hint="Check its permissions, or set SAGE_SAGELLM_MODEL_ROOT to a directory that you "
            "may write to.",
        )

    def _warn(self, what: str) -> None:
        import logging

        logging.getLogger("sagellm.models").warning("The model registry %s %s.", self.path, what)
