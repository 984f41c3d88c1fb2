"""Hub references against a small hub on this machine, in processes of their own.

huggingface_hub reads its environment when it is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import ModelFormatError, UnsafeModelError
from sagellm_core.models.hub import choose_files

pytest.importorskip("huggingface_hub")

_SHA = "0123456789abcdef0123456789abcdef01234567"

_DESCRIBE = """\
import json, sys
from sagellm_core.contract import SageLLMError
from sagellm_core.models import describe
told = []
try:
    description = describe(
        sys.argv[1],
        allow_download=sys.argv[2] == "yes",
        on_progress=lambda *news: told.append(news),
    )
except SageLLMError as error:
    print(json.dumps({"error": error.to_dict()}))
else:
    print(json.dumps({
        "path": str(description.path), "revision": description.revision, "told": told,
        "files": sorted(file.name for file in description.path.iterdir())
        if description.path.is_dir() else [],
    }))
"""


class Hub:
    """Repositories by name, each a mapping of file name to bytes, and what was asked for."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.url = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        plain = path.partition("?")[0].strip("/")
        if plain.startswith("api/models/"):
            return self._api(plain.removeprefix("api/models/").split("/"))
        parts = plain.split("/")
        raw = self.repositories.get("/".join(parts[:2]), {}).get("/".join(parts[4:]))
        if raw is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        etag = hashlib.sha256(raw).hexdigest()
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": _SHA}, raw

    def _api(self, parts: list[str]) -> tuple[int, dict[str, str], bytes]:
        files = self.repositories.get("/".join(parts[:2]))
        if files is None:
            return 401, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if parts[2:3] == ["revision"] and parts[3] not in ("main", "v1", _SHA):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if parts[2:3] == ["tree"]:
            tree = [
                {"type": "file", "path": name, "size": len(raw), "oid": "0" * 40}
                for name, raw in files.items()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(tree).encode()
        siblings = [{"rfilename": name, "size": len(raw)} for name, raw in files.items()]
        info = {"id": "/".join(parts[:2]), "sha": _SHA, "siblings": siblings, "tags": []}
        return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def described(hub: Hub) -> Callable[..., dict[str, Any]]:
    def run(reference: str, *, allow_download: bool = True, **env: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", _DESCRIBE, reference, "yes" if allow_download else "no"],
            env={
                **os.environ,
                "HF_ENDPOINT": hub.url,
                "HF_HUB_DISABLE_XET": "1",
                "NO_PROXY": "127.0.0.1",
                **env,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return run


@pytest.fixture
def tiny(hub: Hub, hf_dir: Path) -> dict[str, bytes]:
    files = {file.name: file.read_bytes() for file in hf_dir.iterdir()}
    files["pytorch_model.bin"] = b"\x80\x04."
    files["modeling_evil.py"] = b"raise SystemExit"
    files["onnx/model.safetensors"] = b"not this one"
    files["consolidated.safetensors"] = b"nor this one"
    hub.repositories["org/tiny"] = files
    return files


def test_a_download_brings_the_model_and_neither_pickle_nor_code(
    hub: Hub, tiny: dict[str, bytes], described: Callable[..., dict[str, Any]]
) -> None:
    found = described("org/tiny")
    assert found["files"] == ["config.json", "model.safetensors"]
    assert found["revision"] == _SHA
    stage, done, total = found["told"][-1]
    assert "org/tiny" in stage
    assert done == total == len(tiny["config.json"]) + len(tiny["model.safetensors"])
    assert not [path for path in hub.asked if path.endswith((".bin", ".py"))]


def test_what_is_in_the_cache_is_not_asked_for_again(
    hub: Hub, tiny: dict[str, bytes], described: Callable[..., dict[str, Any]]
) -> None:
    first = described("org/tiny")
    hub.asked.clear()
    for again in (
        described("org/tiny"),
        described("org/tiny", allow_download=False),
        described("org/tiny", HF_HUB_OFFLINE="1"),
        described(f"org/tiny@{_SHA}"),
    ):
        assert (again["path"], again["revision"]) == (first["path"], _SHA)
    assert hub.asked == []


def test_an_interrupted_download_is_finished(
    tiny: dict[str, bytes], described: Callable[..., dict[str, Any]]
) -> None:
    place = Path(described("org/tiny")["path"])
    (place / "model.safetensors").unlink()
    assert described("org/tiny", allow_download=False)["error"]["code"] == "model_not_local"
    assert "model.safetensors" in described("org/tiny")["files"]


def test_a_gguf_release(
    hub: Hub, gguf_raw: bytes, described: Callable[..., dict[str, Any]]
) -> None:
    hub.repositories["org/gguf"] = {"tiny.gguf": gguf_raw, "README.md": b"#"}
    assert described("org/gguf@v1")["path"].endswith("tiny.gguf")
    assert described("org/gguf@v1", allow_download=False)["path"].endswith("tiny.gguf")


@pytest.mark.parametrize("env", [{"HF_HUB_OFFLINE": "1"}, {}])
def test_not_local_and_not_allowed(
    hub: Hub, described: Callable[..., dict[str, Any]], env: dict[str, str]
) -> None:
    error = described("org/tiny", allow_download=bool(env), **env)["error"]
    assert (error["type"], bool(error["hint"])) == ("ModelNotLocalError", True)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("reference", "says"),
    [("org/none", "no model 'org/none'"), ("org/tiny@v9", "no such revision")],
)
def test_what_the_hub_does_not_have(
    tiny: dict[str, bytes],
    described: Callable[..., dict[str, Any]],
    reference: str,
    says: str,
) -> None:
    error = described(reference)["error"]
    assert error["code"] == "model_not_found"
    assert says in error["message"]


def test_a_hub_that_cannot_be_reached(described: Callable[..., dict[str, Any]]) -> None:
    error = described("org/tiny", HF_ENDPOINT="http://127.0.0.1:9")["error"]
    assert (error["code"], error["retryable"]) == ("model_download", True)
    assert "network" in error["hint"]


def test_without_huggingface_hub_the_way_to_it_is_named(tmp_path: Path) -> None:
    # -S leaves site-packages out, and with it huggingface_hub.
    repository = Path(__file__).parents[2]
    code = f"import sys; sys.path.insert(0, {str(repository)!r}); sys.argv[1:] = ['org/x', 'yes']\n"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code + _DESCRIBE],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["error"]["hint"] == 'pip install "sagellm-core[hub]"'


def test_only_pickle_weights_are_refused_before_any_download(
    hub: Hub, described: Callable[..., dict[str, Any]]
) -> None:
    hub.repositories["org/old"] = {"config.json": b"{}", "pytorch_model.bin": b"\x80\x04."}
    assert described("org/old")["error"]["code"] == "unsafe_model"
    assert not [path for path in hub.asked if "resolve" in path]


def test_the_choice_of_files() -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    names = [*shards, "model.safetensors.index.json", "config.json", "x.py", "a/tokenizer.json"]
    chosen = choose_files([*names, "tokenizer.model", "consolidated.safetensors"], "org/x")
    assert chosen == sorted([*shards, names[2], "config.json", "tokenizer.model"])
    with pytest.raises(ModelFormatError, match=r"2 GGUF files: a\.gguf, b\.gguf"):
        choose_files(["a.gguf", "b.gguf"], "org/x")
    with pytest.raises(UnsafeModelError):
        choose_files(["a.bin"], "org/x")
    with pytest.raises(ModelFormatError, match="no weights"):
        choose_files(["README.md"], "org/x")
