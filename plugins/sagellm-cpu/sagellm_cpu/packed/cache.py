"""Packed weights on disk, so that the next start need not read and pack a checkpoint.

One file ``packed/<key>.bin`` for each model and way of keeping it: a line, the length and the
checksum of a JSON header, the header, and the tensors, each at a multiple of 64 bytes. It is read
into memory and checked as a whole: whatever is not as it was written is removed and made again.
Whatever goes wrong here costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from sagellm_cpu.native.huge_pages import empty_bytes
from sagellm_cpu.native.library_cache import trusted

from .layout import Tensors

_log = logging.getLogger("sagellm.cpu")
_FOLDER = "packed"
_LINE = b"sagellm packed weights 1\n"
_ALIGNMENT = 64
#: All files together; those that were used longest ago go first.
_LARGEST = 32 * 2**30
#: Seconds after which a file that was never finished is nobody's.
_ABANDONED = 3600.0
_DTYPES = {
    str(dtype): dtype for dtype in (torch.uint8, torch.float32, torch.float16, torch.bfloat16)
}


class _Damaged(Exception):
    """The file is not what was written."""


class PackedCache:
    """The files below one cache directory.

    :param directory: may be missing, read-only, full or ``None``; nothing is kept then.
    """

    def __init__(self, directory: Path | None) -> None:
        self._folder = None if directory is None else directory / _FOLDER

    @property
    def folder(self) -> Path | None:
        """Where the files are."""
        return self._folder

    def load(self, key: str) -> tuple[dict[str, Any], Tensors] | None:
        """What was kept under ``key``: its description and tensors; ``None``: nothing whole."""
        path = self._path(key)
        # What is not there is not trusted either; nor is what may not be looked at.
        if path is None or not (trusted(path) and trusted(path.parent)):
            return None
        try:
            with path.open("rb") as file:
                found = _read(file, key)
            with contextlib.suppress(OSError):  # a cache that is read-only is as good
                os.utime(path)
        except PermissionError:
            return None
        except (OSError, ValueError, KeyError, TypeError, _Damaged) as error:
            _log.warning("The packed weights in %s are not whole (%s): made again.", path, error)
            self.discard(key)
            return None
        return found

    def save(self, key: str, description: Mapping[str, Any], tensors: Tensors) -> bool:
        """Keep tensors under ``key``, if that is possible; whether it was."""
        path = self._path(key)
        if path is None:
            return False
        temporary = ""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not trusted(path.parent):
                raise PermissionError(1, "other users may write there")
            size = sum(tensor.nbytes for tensor in tensors.values())
            self._make_room(path.parent, size)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
            with os.fdopen(handle, "wb") as file:
                _write(file, key, description, tensors)
            Path(temporary).replace(path)
        except OSError as error:
            if temporary:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()
            _log.warning(
                "Packed weights are not kept, and are packed at each start: %s cannot be written "
                "(%s). Set SAGELLM_CACHE_DIR to a directory that can.",
                path.parent,
                error.strerror or error,
            )
            return False
        return True

    def discard(self, key: str) -> None:
        """Remove what is kept under ``key``, if that is possible."""
        path = self._path(key)
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()

    def _path(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{key}.bin"

    def _make_room(self, folder: Path, size: int) -> None:
        """Remove what is abandoned or was used longest ago.

        :raises OSError: the disk has less than twice as much free.
        """
        now = time.time()
        for left in folder.glob(".writing-*"):
            with contextlib.suppress(OSError):
                if now - left.stat().st_mtime > _ABANDONED:
                    left.unlink()
        kept = sorted((path.stat().st_mtime, path) for path in folder.glob("*.bin"))
        total = size + sum(path.stat().st_size for _, path in kept)
        for _, path in kept:
            if total <= _LARGEST:
                break
            total -= path.stat().st_size
            path.unlink()
        if shutil.disk_usage(folder).free < 2 * size:
            raise OSError(28, "less than twice their size is free")


def _write(file: BinaryIO, key: str, description: Mapping[str, Any], tensors: Tensors) -> None:
    index = {}
    at = 0
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        index[name] = [str(tensor.dtype), list(tensor.shape), at]
        at += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
    for piece in _pieces(tensors):
        digest.update(piece)
    told = {
        "key": key,
        "description": dict(description),
        "tensors": index,
        "bytes": at,
        "checksum": digest.hexdigest(),
    }
    header = json.dumps(told).encode()
    file.write(_LINE + len(header).to_bytes(8, "little") + hashlib.sha256(header).digest())
    file.write(header)
    for piece in _pieces(tensors):
        file.write(piece)


def _pieces(tensors: Tensors) -> Any:
    for tensor in tensors.values():
        flat = tensor.contiguous().view(-1)
        yield flat.view(torch.uint8).numpy().data
        yield bytes(-flat.nbytes % _ALIGNMENT)


def _read(file: BinaryIO, key: str) -> tuple[dict[str, Any], Tensors]:
    start = file.read(len(_LINE) + 8 + 32)
    if not start.startswith(_LINE) or len(start) != len(_LINE) + 40:
        raise _Damaged("another format")
    length = int.from_bytes(start[len(_LINE) : len(_LINE) + 8], "little")
    rest = os.fstat(file.fileno()).st_size - len(start)
    if length > rest:
        raise _Damaged("cut short")
    header = file.read(length)
    if hashlib.sha256(header).digest() != start[-32:]:
        raise _Damaged("its header was changed")
    told = json.loads(header)
    if told["key"] != key:
        raise _Damaged("it is of other weights")
    if told["bytes"] != rest - length:
        raise _Damaged("cut short")
    data = empty_bytes(told["bytes"])
    view = data.numpy().data.cast("B")
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise _Damaged("cut short")
        done += count
    if hashlib.sha256(view).hexdigest() != told["checksum"]:
        raise _Damaged("its tensors were changed")
    tensors = {}
    for name, (dtype, shape, at) in told["tensors"].items():
        kind = _DTYPES[dtype]
        count = kind.itemsize
        for side in shape:
            count *= side
        tensors[name] = data[at : at + count].view(kind).view(shape)
    return told["description"], tensors
