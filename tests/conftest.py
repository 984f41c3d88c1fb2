"""Fake plugins: real distributions made of a ``.dist-info`` directory and a module."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import ENTRY_POINT_GROUP
from sagellm_core.providers import Controls

# A whole plugin. Each hook's body can be replaced by the test.
PLUGIN = """\
import ctypes, os, signal, subprocess, sys, threading, time
from array import array
from sagellm_core.contract import *
{head}

class Tokenizer:
    vocab_size = 256
    has_chat_template = False
    def encode(self, text, *, add_special_tokens=True): return list(text.encode())
    def decode(self, token_ids, *, skip_special_tokens=True): return bytes(token_ids).decode()
    def apply_chat_template(self, messages, *, tools=None, add_generation_prompt=True): return ""

class Model:
    tokenizer, max_model_len, eos_token_ids = Tokenizer(), 64, frozenset({{0}})
    dtype, quantization, notes = "float32", "none", ()
    def __init__(self, description): self.description = description
    def close(self): pass

class Opened:
    capacity, max_slots = KVCapacity(8, 16, 1024), 4
    dimension, tokenizer, max_model_len = 2, Tokenizer(), 64
    def prefill(self, rows): raise NotImplementedError
    def decode(self, rows): raise NotImplementedError
    max_length, pooling, normalizes, prompts = 16, "mean", False, {{}}
    def encode(self, texts):
        ids = [list(text.encode())[:16] for text in texts]
        return TokenizedTexts(token_ids=ids, lengths=[len(text.encode()) for text in texts])
    def embed(self, batch, *, normalize):
        return memoryview(array("f", [n for row in batch for n in (len(row), row[0])])).cast(
            "B").cast("f", [len(batch), 2])
    def submit(self, request, sink): raise NotImplementedError
    def cancel(self, request_id): return False
    def stats(self): return EngineStats(running=0, waiting=0)
    def close(self): pass

@hookimpl
def sagellm_plugin_info():
{info}

@hookimpl
def sagellm_detect_devices(env, root):
{detect}

@hookimpl
def sagellm_can_load(model, device):
{can_load}

@hookimpl
def sagellm_load_model(model, device, options):
{load}

@hookimpl
def sagellm_open_runner(model, config):
{runner}

{tail}
"""


class PluginSite:
    """A directory on ``sys.path`` with fake plugins in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[str] = []
        self.modules: list[str] = []

    def __fspath__(self) -> str:
        return str(self.path)

    def dist(
        self,
        name: str,
        entry_points: str | bytes,
        *,
        version: str = "1.0",
        requires: Sequence[str] = ("sagellm-core>=0.1,<0.2",),
        metadata: str | None = None,
        under: str = "",
    ) -> Path:
        """Write a distribution; ``under`` names a subdirectory to write it to."""
        info = self.path / under / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        if metadata is None:
            lines = [f"Requires-Dist: {requirement}" for requirement in requires]
            metadata = "\n".join(
                ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines]
            )
        (info / "METADATA").write_text(metadata + "\n")
        text = entry_points.encode() if isinstance(entry_points, str) else entry_points
        (info / "entry_points.txt").write_bytes(text)
        importlib.invalidate_caches()
        return info

    def module(self, source: str) -> str:
        """Write a module of a new name and return that name."""
        name = f"fake_{uuid.uuid4().hex}"
        (self.path / f"{name}.py").write_text(source)
        self.modules.append(name)
        importlib.invalidate_caches()
        return name

    def add(
        self,
        name: str,
        *,
        device_class: str = "ACCELERATOR",
        priority: int = 0,
        capabilities: str = "frozenset()",
        devices: str = "",
        verdict: str = "LoadAnswer(verdict=LoadVerdict.YES, bytes_needed=1)",
        head: str = "",
        info: str = "",
        detect: str = "",
        can_load: str = "",
        load: str = "return Model(model)",
        runner: str = "return Opened()",
        tail: str = "",
        dist: str = "",
        version: str = "1.0",
        group: str = ENTRY_POINT_GROUP,
        requires: Sequence[str] = ("sagellm-core>=0.1,<0.2",),
        source: str | None = None,
    ) -> str:
        """Install a plugin that works, except for what the arguments replace.

        ``devices`` and ``verdict`` are expressions, the hooks' names are bodies, ``head`` and
        ``tail`` are statements of the module. Returns the module's name.
        """
        devices = devices or "[DeviceInfo(id='dev:0', state=DeviceState.USABLE, memory_free=100)]"
        info = info or (
            f"return PluginInfo(name={name!r}, vendor='Fake', priority={priority},"
            f" device_class=DeviceClass.{device_class}, capabilities={capabilities})"
        )
        for capability in ("embed", "engine"):
            hook = f"sagellm_open_{capability.replace('embed', 'embedder')}"
            if f"'{capability}'" in capabilities and hook not in tail:
                tail = textwrap.dedent(tail) + (
                    f"\n@hookimpl\ndef {hook}(model, config):\n    return Opened()\n"
                )
        if source is None:
            source = PLUGIN.format(
                head=textwrap.dedent(head),
                tail=textwrap.dedent(tail),
                info=_body(info),
                detect=_body(detect or f"return {devices}"),
                can_load=_body(can_load or f"return {verdict}"),
                load=_body(load),
                runner=_body(runner),
            )
        module = self.module(source)
        self.dist(
            dist or f"sagellm-{name}",
            f"[{group}]\n{name} = {module}\n",
            version=version,
            requires=requires,
        )
        self.names.append(name)
        return module

    def controls(self, backend: str = "auto", *, allow_fallback: bool = False) -> Controls:
        """Controls that leave the plugins of the test's own environment out."""
        return Controls(backend=backend, allow=tuple(self.names), allow_fallback=allow_fallback)

    def run(
        self,
        code: str,
        *,
        env: dict[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        timeout: float = 30,
        flags: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run Python code with this site on PYTHONPATH."""
        return subprocess.run(
            [sys.executable, *flags, "-c", textwrap.dedent(code)],
            env={**os.environ, "PYTHONPATH": str(self.path), **(env or {})},
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def _body(text: str) -> str:
    return textwrap.indent(textwrap.dedent(text).strip(), "    ")


@pytest.fixture
def plugin_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginSite]:
    """A place for fake plugins, first on ``sys.path`` while the test runs."""
    path = tmp_path / "site"
    path.mkdir()
    site = PluginSite(path)
    monkeypatch.syspath_prepend(str(path))
    yield site
    for name in site.modules:
        sys.modules.pop(name, None)


class ProcessMark:
    """Finds the processes that a test started, through a variable that they inherit."""

    def __init__(self, mark: str) -> None:
        self._mark = f"SAGELLM_TEST_MARK={mark}".encode()

    def alive(self) -> list[int]:
        """Process ids, zombies left out."""
        found = []
        for place in Path("/proc").iterdir():
            if not place.name.isdigit() or int(place.name) == os.getpid():
                continue
            try:
                marked = self._mark in (place / "environ").read_bytes().split(b"\0")
                if marked and (place / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    found.append(int(place.name))
            except OSError:
                continue  # It ended, or belongs to someone else.
        return found

    def gone(self, within: float = 2.0) -> bool:
        """Whether they are all gone; a killed process takes a moment."""
        end = time.monotonic() + within
        while self.alive():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True


@pytest.fixture
def process_mark(monkeypatch: pytest.MonkeyPatch) -> ProcessMark:
    """Marks every process started from here on; needs ``/proc``."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("finding processes by their environment needs /proc")
    mark = uuid.uuid4().hex
    monkeypatch.setenv("SAGELLM_TEST_MARK", mark)
    return ProcessMark(mark)


class Hub:
    """A small Hugging Face hub: repositories by name, and ways to fail."""

    commit = "0123456789abcdef0123456789abcdef01234567"

    def __init__(self) -> None:
        #: Repository to file name to content.
        self.repositories: dict[str, dict[str, bytes]] = {}
        #: The path of every request, and the Range header of those that had one.
        self.asked: list[str] = []
        self.ranges: list[str] = []
        self.authorizations: list[str | None] = []
        #: File name to how many bytes a response brings before the connection closes.
        self.cut: dict[str, int] = {}
        #: File name to status codes that its next requests get.
        self.statuses: dict[str, list[int]] = {}
        #: File name to a size that the listing claims.
        self.claimed: dict[str, int] = {}
        #: File name to content that is sent instead of what the listing tells.
        self.sent: dict[str, bytes] = {}
        #: Where requests for files are redirected to.
        self.redirect = ""
        self.ignores_ranges = False
        self.has_digests = True
        #: Seconds between chunks of 64 KiB.
        self.delay = 0.0
        #: Repository to what its weights wait for.
        self.gates: dict[str, threading.Event] = {}
        self.url = ""

    def fetched(self, name: str) -> int:
        """How often a file was asked for."""
        return sum("/resolve/" in path and path.endswith(f"/{name}") for path in self.asked)

    def get(self, request: Any) -> None:
        """Answer one request."""
        path = request.path.partition("?")[0].strip("/")
        self.asked.append(request.path)
        if path.startswith("api/models/"):
            self._send(request, *self._api(path.removeprefix("api/models/").split("/")))
            return
        parts = path.split("/")
        name = "/".join(parts[4:])
        raw = self.repositories.get("/".join(parts[:2]), {}).get(name)
        self.authorizations.append(request.headers.get("Authorization"))
        if raw is None:
            self._send(request, 404, {"X-Error-Code": "EntryNotFound"}, b"")
        elif self.statuses.get(name):
            self._send(request, self.statuses[name].pop(0), {"Retry-After": "0"}, b"")
        elif self.redirect:
            self._send(request, 302, {"Location": f"{self.redirect}/{path}"}, b"")
        else:
            gate = self.gates.get("/".join(parts[:2]))
            if gate is not None and request.command == "GET" and name == "model.safetensors":
                gate.wait(timeout=60)
            self._send_file(request, name, self.sent.get(name, raw))

    def _send_file(self, request: Any, name: str, raw: bytes) -> None:
        found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        at = int(found[1]) if found and not self.ignores_ranges else 0
        if found:
            self.ranges.append(found[0])
        headers = {"ETag": f'"{hashlib.sha256(raw).hexdigest()}"', "X-Repo-Commit": self.commit}
        if at >= len(raw) > 0:
            self._send(request, 416, headers, b"")
            return
        if at:
            headers["Content-Range"] = f"bytes {at}-{len(raw) - 1}/{len(raw)}"
        self._send(request, 206 if at else 200, headers, raw[at:], self.cut.get(name))

    def _send(
        self,
        request: Any,
        status: int,
        headers: dict[str, str],
        body: bytes,
        cut: int | None = None,
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "GET":
            sent = body[:cut]
            try:
                for at in range(0, len(sent), 65536):
                    request.wfile.write(sent[at : at + 65536])
                    time.sleep(self.delay)
            except OSError:
                pass  # the reader was killed, or has enough
        request.close_connection = True

    def _api(self, parts: list[str]) -> tuple[int, dict[str, str], bytes]:
        files = self.repositories.get("/".join(parts[:2]))
        if files is None:
            return 401, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if parts[2:3] == ["revision"] and parts[3] not in ("main", "v1", "v2", self.commit):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        siblings = [self._sibling(name, raw) for name, raw in files.items()]
        info = {"id": "/".join(parts[:2]), "sha": self.commit, "siblings": siblings, "tags": []}
        return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()

    def _sibling(self, name: str, raw: bytes) -> dict[str, Any]:
        size = self.claimed.get(name, len(raw))
        told: dict[str, Any] = {"rfilename": name, "size": size}
        if self.has_digests and name.endswith((".safetensors", ".gguf")):
            sha256 = hashlib.sha256(raw).hexdigest()
            told["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 100}
        elif self.has_digests:
            told["blobId"] = hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()
        return told


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub on this machine; give its ``url`` to a process as ``HF_ENDPOINT``."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.get(self)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()
