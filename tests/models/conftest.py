"""Model files made in the test: whole, and then broken in one way each."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}


def safetensors_bytes(tensors: Mapping[str, tuple[str, list[int]]]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * DTYPE_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(at)


def gguf_string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(value: Any) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + gguf_string(value)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(gguf_string, value))
        case list():
            return struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)
    raise TypeError(value)


def gguf_bytes(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, tuple[list[int], int, int]],
    version: int = 3,
) -> bytes:
    """``tensors``: name to shape, ggml type number and stored bytes."""
    infos, data = b"", b""
    for name, (shape, kind, size) in tensors.items():
        infos += gguf_string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        infos += struct.pack("<IQ", kind, len(data))
        data += bytes(-(-size // 32) * 32)
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, value in metadata.items():
        head += gguf_string(key) + gguf_value(value)
    head += infos
    return head + bytes(-len(head) % 32) + data


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    monkeypatch.setenv("SAGE_SAGELLM_MODEL_ROOT", str(home / "registry"))
    for name in ("SAGE_LLM_MODEL_ROOT", "XDG_DATA_HOME", "SAGELLM_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make_safetensors() -> Callable[..., bytes]:
    return safetensors_bytes


@pytest.fixture
def make_gguf() -> Callable[..., bytes]:
    return gguf_bytes


@pytest.fixture
def config() -> dict[str, Any]:
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 32,
        "max_position_embeddings": 128,
    }


@pytest.fixture
def hf_dir(tmp_path: Path, config: dict[str, Any]) -> Path:
    place = tmp_path / "tiny-llama"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config))
    (place / "model.safetensors").write_bytes(
        safetensors_bytes({"embed": ("BF16", [32, 4]), "norm": ("F32", [4])})
    )
    return place


@pytest.fixture
def gguf_raw() -> bytes:
    return gguf_bytes(
        {
            "general.architecture": "llama",
            "llama.context_length": 128,
            "llama.rope.freq_base": 10000.0,
            "tokenizer.ggml.tokens": [f"t{number}" for number in range(600)],
            "tokenizer.ggml.scores": list(range(600)),
            "general.tags": ["a", "b"],
        },
        {"token_embd.weight": ([64, 600], 8, 64 // 32 * 34 * 600), "norm": ([64], 0, 256)},
    )


@pytest.fixture
def gguf_file(tmp_path: Path, gguf_raw: bytes) -> Path:
    place = tmp_path / "tiny.gguf"
    place.write_bytes(gguf_raw)
    return place


@pytest.fixture
def fake_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs a distribution by writing its .dist-info; its module must never be imported."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(name: str, files: Mapping[str, bytes], extra_records: tuple[str, ...] = ()) -> Path:
        info = site / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        package = name.replace("-", "_")
        files = {f"{package}/__init__.py": b"raise SystemExit('imported')", **files}
        for path, raw in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_bytes(raw)
        (info / "RECORD").write_text("".join(f"{path},,\n" for path in (*files, *extra_records)))
        return site

    return install
