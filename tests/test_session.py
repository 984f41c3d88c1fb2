"""A session over providers that fail on the way in or out, and where it keeps what it converts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sagellm_core import SageLLMGenerator
from sagellm_core.contract import (
    ConfigurationError,
    EngineError,
    RunnerError,
    SageLLMError,
    TokenizerError,
)
from sagellm_core.session import cache_directory

NOBODY = "~nobody_of_that_name/cache"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SAGELLM_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_the_configured_place_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "sagellm"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_directory() == Path("/xdg/sagellm")
    monkeypatch.setenv("SAGELLM_CACHE_DIR", "~/kept")
    assert cache_directory() == tmp_path / "kept"
    assert cache_directory("/mine") == Path("/mine")


def test_the_home_of_a_user_who_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="cache_dir='~nobody") as caught:
        cache_directory(NOBODY)
    assert caught.value.hint
    with pytest.raises(ConfigurationError, match="NUL"):
        cache_directory("a\0b")
    monkeypatch.setenv("SAGELLM_CACHE_DIR", NOBODY)
    with pytest.raises(ConfigurationError, match="SAGELLM_CACHE_DIR"):
        cache_directory()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take another user id")
def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    script = (
        "import os, sagellm_core.session as session\n"
        "os.setuid(54_321)\n"
        "print(session.cache_directory())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "None"


def generator(site: Any, tmp_path: Path) -> SageLLMGenerator:
    (tmp_path / "nothing.gguf").write_bytes(b"")
    return SageLLMGenerator("npu", str(tmp_path / "nothing.gguf"))


ANY_MODEL = "frozenset({'any_model'})"
CLOSING = """
    class Part({base}):
        def close(self):
            with open({place!r}, "a") as file: file.write("{name} ")
            {body}
    return Part({arguments})
"""


@pytest.mark.parametrize("body", ["raise OSError('stuck')", "raise SystemExit(3)"])
@pytest.mark.parametrize("part", ["load", "runner"])
def test_a_provider_that_fails_to_close(
    plugin_site: Any, tmp_path: Path, part: str, body: str
) -> None:
    place = tmp_path / "closed"
    hooks = {
        "load": {"base": "Model", "arguments": "model", "name": "model"},
        "runner": {"base": "Opened", "arguments": "", "name": "runner"},
    }
    bodies = {
        hook: CLOSING.format(place=str(place), body=body if hook == part else "", **values)
        for hook, values in hooks.items()
    }
    plugin_site.add("npu", capabilities=ANY_MODEL, **bodies)
    one = generator(plugin_site, tmp_path)
    one.load()
    with pytest.raises(
        RunnerError, match=f"Closing the provider's {hooks[part]['name']}"
    ) as caught:
        one.shutdown()
    assert caught.value.hint
    assert {"runner", "model"} <= set(place.read_text().split())
    one.shutdown()


@pytest.mark.parametrize(
    ("method", "what", "error"),
    [
        ("encode", "raise OSError('no table')", TokenizerError),
        ("encode", "raise SystemExit(3)", TokenizerError),
        ("encode", "return None", TokenizerError),
        ("decode", "raise OSError('no table')", EngineError),
        ("decode", "raise SystemExit(3)", EngineError),
    ],
)
def test_a_provider_whose_tokenizer_fails(
    plugin_site: Any, tmp_path: Path, method: str, what: str, error: type[SageLLMError]
) -> None:
    head = f"""
        class BadTokenizer:
            vocab_size, has_chat_template = 256, False
            def encode(self, text, *, add_special_tokens=True): return [1]
            def decode(self, token_ids, *, skip_special_tokens=True): return ""
            def apply_chat_template(self, messages, **_): return ""
            def {method}(self, *_, **__): {what}
    """
    load = "loaded = Model(model)\nloaded.tokenizer = BadTokenizer()\nreturn loaded"
    plugin_site.add("npu", capabilities=ANY_MODEL, head=head, load=load)
    one = generator(plugin_site, tmp_path)
    with pytest.raises(error, match="tokenizer failed") as caught:
        one.execute("Hi")
    assert caught.value.hint
    one.shutdown()


def test_loading_notes_the_use_in_the_registry(
    plugin_site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    monkeypatch.setenv("SAGE_SAGELLM_MODEL_ROOT", str(tmp_path))
    registry = tmp_path / "metadata.json"
    registry.write_text(json.dumps({"small": {"path": str(model), "last_used": 5}}))
    plugin_site.add("npu", capabilities=ANY_MODEL)
    began = time.time()
    with SageLLMGenerator("npu", "small") as one:
        one.load()
    assert json.loads(registry.read_text())["small"]["last_used"] >= began


def test_a_registry_that_cannot_be_written_is_no_reason_not_to_load(
    plugin_site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGE_SAGELLM_MODEL_ROOT", str(tmp_path / "registry"))
    (tmp_path / "registry").write_text("a file")
    plugin_site.add("npu", capabilities=ANY_MODEL)
    with SageLLMGenerator("npu", "small") as one:
        one.load()
