"""Putting a new text in a file's place: whole or not at all."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from sagellm_core.contract import ConfigurationError


def back_up(path: Path, data: bytes) -> Path:
    """Write ``data`` beside ``path``, readable by whoever may read ``path``; returns where.

    :raises ConfigurationError: it cannot be written.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    mode = stat.S_IMODE(path.stat().st_mode)
    for number in range(100):
        place = path.with_name(f"{path.name}.bak-{stamp}" + (f"-{number}" if number else ""))
        try:
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        except OSError as error:
            raise _failed(place, error) from None
        try:
            _fill(handle, data, mode)
        except OSError as error:
            place.unlink(missing_ok=True)
            raise _failed(place, error) from None
        return place
    raise ConfigurationError(
        f"{path} was backed up a hundred times within this second.", hint="Remove some backups."
    )


def replace(path: Path, expected: bytes | None, data: bytes) -> None:
    """Put ``data`` in the place of ``expected``, in one step, with the same mode.

    A link keeps pointing to its file, which is what changes.

    :param expected: what the file holds; ``None``: there is none.
    :raises ConfigurationError: it holds something else by now, or cannot be written.
    """
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if expected is None:
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = None
        else:
            mode = stat.S_IMODE(target.stat().st_mode)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            _fill(handle, data, mode)
            if (target.read_bytes() if target.exists() else None) != expected:
                raise ConfigurationError(
                    f"{path} was changed by someone else meanwhile; nothing was written.",
                    hint="Run the command again.",
                )
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise _failed(path, error) from None


def _fill(handle: int, data: bytes, mode: int | None) -> None:
    with os.fdopen(handle, "wb") as file:
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _failed(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be written: {error.strerror}.",
        hint="Nothing was changed. Check the directory's permissions and free space.",
    )
