"""Hub references against a small hub on this machine, in processes of their own.

huggingface_hub reads its environment when it is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import ModelFormatError, UnsafeModelError
from sagellm_core.models.repository import choose_files

pytest.importorskip("huggingface_hub")

#: The commit that the hub of these tests has.
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


@pytest.fixture
def described(hub: Any) -> Callable[..., dict[str, Any]]:
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
def tiny(hub: Any, hf_dir: Path) -> dict[str, bytes]:
    files = {file.name: file.read_bytes() for file in hf_dir.iterdir()}
    files["pytorch_model.bin"] = b"\x80\x04."
    files["modeling_evil.py"] = b"raise SystemExit"
    files["onnx/model.safetensors"] = b"not this one"
    files["consolidated.safetensors"] = b"nor this one"
    hub.repositories["org/tiny"] = files
    return files


def test_a_download_brings_the_model_and_neither_pickle_nor_code(
    hub: Any, tiny: dict[str, bytes], described: Callable[..., dict[str, Any]]
) -> None:
    found = described("org/tiny")
    assert found["files"] == [".sagellm.json", "config.json", "model.safetensors"]
    assert found["revision"] == _SHA
    stage, done, total = found["told"][-1]
    assert "org/tiny" in stage
    assert done == total == len(tiny["config.json"]) + len(tiny["model.safetensors"])
    assert not [path for path in hub.asked if path.endswith((".bin", ".py"))]


def test_what_is_registered_is_not_asked_for_again(
    hub: Any, tiny: dict[str, bytes], described: Callable[..., dict[str, Any]]
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
    assert described("org/tiny", allow_download=False)["error"]["code"] == "model_format"
    assert "model.safetensors" in described("org/tiny")["files"]


def test_a_gguf_release(
    hub: Any, gguf_raw: bytes, described: Callable[..., dict[str, Any]]
) -> None:
    hub.repositories["org/gguf"] = {"tiny.gguf": gguf_raw, "README.md": b"#"}
    assert described("org/gguf@v1")["path"].endswith("tiny.gguf")
    assert described("org/gguf@v1", allow_download=False)["path"].endswith("tiny.gguf")


@pytest.mark.parametrize("env", [{"HF_HUB_OFFLINE": "1"}, {}])
def test_not_local_and_not_allowed(
    hub: Any, described: Callable[..., dict[str, Any]], env: dict[str, str]
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
    hub: Any, described: Callable[..., dict[str, Any]]
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
