"""A small hub on this machine, and what it has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.models import (
    model_root,
)


@pytest.fixture(autouse=True)
def _this_hub(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def root() -> Path:
    return model_root()


@pytest.fixture
def tiny(hub: Any, hf_dir: Path) -> dict[str, bytes]:
    files = {file.name: file.read_bytes() for file in hf_dir.iterdir()}
    hub.repositories["org/tiny"] = files
    return files


@pytest.fixture
def big(hub: Any, make_safetensors: Callable[..., bytes], config: dict[str, Any]) -> bytes:
    """``org/big``: one megabyte of weights in one file, which is returned."""
    raw = make_safetensors({"w": ("F32", [512, 512])})
    hub.repositories["org/big"] = {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": raw,
    }
    return raw


@pytest.fixture
def child(hub: Any) -> Callable[..., subprocess.Popen[str]]:
    """``child(code, *arguments)``: Python in a process of its own, which knows the hub."""

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "HF_ENDPOINT": hub.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
