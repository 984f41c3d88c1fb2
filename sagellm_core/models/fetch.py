"""Fetching files over HTTP: what arrived is kept, and the next attempt goes on behind it.

huggingface_hub begins a file anew in each process. Weight files have gigabytes, so the bytes are
fetched here, with range requests (RFC 9110, section 14), and compared with the digest that the
hub tells.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import ModelDownloadError, ModelNotFoundError, ModelRegistryError
from .repository import RemoteFile
from .staging import PARTIAL, unwritable

_CHUNK = 256 * 1024
#: Attempts in a row that bring no byte.
_ATTEMPTS = 5
_LONGEST_PAUSE = 30.0
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class StoppedError(Exception):
    """Another file failed, or the user pressed Ctrl-C."""


class _BrokenOffError(Exception):
    """A connection ended early or could not be made; trying again may help."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        #: Seconds that the server asks to wait.
        self.pause = pause


@dataclass(slots=True)
class Fetcher:
    """Fetches files of one model; used from several threads."""

    label: str
    headers: Mapping[str, str]
    #: Seconds without a byte after which a connection counts as broken.
    timeout: float
    #: Told about bytes that arrived, and, as a negative number, of some that were no use.
    on_bytes: Callable[[int], None]
    stop: threading.Event = field(default_factory=threading.Event)
    _opener: urllib.request.OpenerDirector = field(init=False)

    def __post_init__(self) -> None:
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=_tls()), _Redirects()
        )

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Have ``file`` whole at ``target``; beside it grows a ``.part``.

        A file that is there already, and is as it should be, is not fetched again.

        :raises ModelDownloadError: it could not be fetched; what arrived is kept.
        :raises ModelNotFoundError: no access to it, or it is gone from the hub.
        :raises DiskSpaceError: the disk is full.
        :raises ModelRegistryError: it cannot be written.
        :raises StoppedError: :attr:`stop` was set.
        """
        part = target.with_name(target.name + PARTIAL)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.replace(part)  # with its digest still to be seen
            for _ in range(2):
                kept = _Partial(part, file)
                with kept:
                    self._fill(file, kept)
                    kept.sync()
                if kept.is_right():
                    part.replace(target)
                    return
                # The beginning may be of another version than the rest: once more from the start.
                self.on_bytes(-file.size)
                part.unlink()
        except OSError as error:
            raise unwritable(part, error) from error
        raise ModelDownloadError(
            f"{file.name} of {self.label} arrived twice with another digest than the hub tells.",
            hint="A proxy may be changing files on the way; check HF_ENDPOINT and HTTPS_PROXY.",
        )

    def _fill(self, file: RemoteFile, kept: _Partial) -> None:
        failures = 0
        self.on_bytes(kept.size)
        while kept.size < file.size:
            before = kept.size
            try:
                self._append(file, kept)
            except _BrokenOffError as error:
                failures = 1 if kept.size > before else failures + 1
                if failures >= _ATTEMPTS:
                    raise ModelDownloadError(
                        f"{file.name} of {self.label} broke off at {kept.size} of {file.size} "
                        f"bytes: {error}.",
                        hint="Check the network (HTTPS_PROXY, HF_ENDPOINT) and run it again; it "
                        "goes on from there.",
                    ) from error
                pause = max(error.pause, 0.25 * 2**failures)
                if self.stop.wait(min(pause, _LONGEST_PAUSE)):
                    raise StoppedError from error

    def _append(self, file: RemoteFile, kept: _Partial) -> None:
        headers = {**self.headers, "Accept-Encoding": "identity"}
        if kept.size:
            headers["Range"] = f"bytes={kept.size}-"
        try:
            request = urllib.request.Request(file.url, headers=headers)
            with self._opener.open(request, timeout=self.timeout) as response:
                if kept.size and not _continues(response, kept.size):
                    self.on_bytes(-kept.size)
                    kept.restart()
                while chunk := response.read(_CHUNK):
                    if self.stop.is_set():
                        raise StoppedError
                    if kept.size + len(chunk) > file.size:
                        raise ModelDownloadError(
                            f"The hub sends more than the {file.size} bytes that it told for "
                            f"{file.name} of {self.label}.",
                            hint="Run it again; if it stays so, the repository is broken.",
                        )
                    kept.append(chunk)
                    self.on_bytes(len(chunk))
        except _WriteError as error:
            raise error.error from error
        except urllib.error.HTTPError as error:
            error.close()
            self._refused(file, kept, error)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise _BrokenOffError(f"{type(error).__name__}: {reason}") from error
        if kept.size < file.size:
            raise _BrokenOffError("the connection ended early")

    def _refused(self, file: RemoteFile, kept: _Partial, error: urllib.error.HTTPError) -> None:
        if error.code == 416 and kept.size:
            self.on_bytes(-kept.size)
            kept.restart()
        elif error.code in _TRANSIENT:
            wait = error.headers.get("Retry-After", "")
            raise _BrokenOffError(
                f"HTTP status {error.code}", float(wait) if wait.isdigit() else 0.0
            ) from error
        elif error.code in (401, 403):
            raise ModelNotFoundError(
                f"Access to {file.name} of {self.label} is denied (HTTP status {error.code}).",
                hint="Accept the model's conditions on the hub, then run: hf auth login",
            ) from error
        else:
            raise ModelDownloadError(
                f"{file.name} of {self.label} could not be fetched: HTTP status {error.code}.",
                hint="Run it again; if it stays so, the repository has changed.",
            ) from error


class _WriteError(Exception):
    """What writing to the disk raised, told from what the network raised."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


class _Partial:
    """A file that grows, with the digest of what is in it."""

    def __init__(self, path: Path, file: RemoteFile) -> None:
        self._path, self._file = path, file
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        self.size = 0
        self._digest: Any = None
        self._begin()
        if os.fstat(self._descriptor).st_size > file.size:
            os.ftruncate(self._descriptor, 0)
        while chunk := os.read(self._descriptor, _CHUNK):
            self._count(chunk)

    def __enter__(self) -> _Partial:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def append(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                written = os.write(self._descriptor, rest)
                self._count(rest[:written])
                rest = rest[written:]
        except OSError as error:
            error.filename = str(self._path)
            raise _WriteError(error) from error

    def restart(self) -> None:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.ftruncate(self._descriptor, 0)
        self._begin()

    def sync(self) -> None:
        # A disk may say only now that it is full.
        os.fsync(self._descriptor)

    def is_right(self) -> bool:
        wanted = self._file.sha256 or self._file.git_blob
        return self._digest is None or self._digest.hexdigest() == wanted

    def _begin(self) -> None:
        self.size = 0
        if self._file.sha256:
            self._digest = hashlib.sha256()
        elif self._file.git_blob:
            # git hash-object: SHA-1 over "blob SIZE\0" and the content.
            header = b"blob %d\0" % self._file.size
            self._digest = hashlib.sha1(header, usedforsecurity=False)

    def _count(self, chunk: bytes | memoryview) -> None:
        self.size += len(chunk)
        if self._digest is not None:
            self._digest.update(chunk)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and keeps the user's token from hosts that it was not made for."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            following.remove_header("Authorization")
        return following


def _continues(response: Any, at: int) -> bool:
    """Whether a response brings what follows byte ``at``; a server may send everything anew."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return response.status == 206 and found is not None and int(found[1]) == at


def _tls() -> Any:
    """Certificates as huggingface_hub's own client has them: configured ones, or certifi's."""
    import ssl
    from importlib.util import find_spec

    configured = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
    if not configured and find_spec("certifi") is not None:
        from importlib import import_module

        configured = import_module("certifi").where()
    try:
        if configured and Path(configured).is_dir():
            return ssl.create_default_context(capath=configured)
        return ssl.create_default_context(cafile=configured)
    except OSError as error:
        raise ModelRegistryError(
            f"The certificates in {configured} cannot be read: {error.strerror or error}.",
            hint="Correct SSL_CERT_FILE or REQUESTS_CA_BUNDLE.",
        ) from error
