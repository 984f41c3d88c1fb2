"""The ``sage`` commands, against parsers made the way SAGE makes its own."""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from sagellm_sage.cli import register

#: What SAGE's `main` does with parsers and plugins, and nothing else.
_SAGE = """\
import argparse, sys
from importlib.metadata import entry_points

parser = argparse.ArgumentParser(prog="sage")
commands = parser.add_subparsers(dest="command")
commands.add_parser("version")
for entry in entry_points(group="sage.cli.plugins"):
    entry.load()(commands)
arguments, unknown = parser.parse_known_args()
if hasattr(arguments, "_handler"):
    sys.exit(arguments._handler(arguments))
sys.exit(99)
"""


@pytest.fixture
def sage(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAGE", "HF_", "PYTHON", "XDG_"))
    }

    def run(*words: str, input: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _SAGE, *words],
            input=input,
            env={**kept, "HOME": str(tmp_path), "COLUMNS": "80", "PYTHONWARNINGS": "error"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def _subparsers() -> Any:
    return argparse.ArgumentParser(prog="sage").add_subparsers(dest="command")


def test_sage_finds_the_entry_point() -> None:
    [entry] = [each for each in entry_points(group="sage.cli.plugins") if each.name == "sagellm"]
    assert entry.load() is register


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (("llm", "--help"), "sage llm [OPTIONS] COMMAND"),
        (("llm", "-h"), "sage llm [OPTIONS] COMMAND"),
        (("llm", "model", "--help"), "sage llm model [OPTIONS] COMMAND"),
        (("llm", "model", "list", "-h"), "sage llm model list [OPTIONS]"),
        (("llm", "run", "--help"), "sage llm run [OPTIONS]"),
        (("llm", "config", "auto", "--help"), "sage llm config auto [OPTIONS]"),
        (("pipeline", "--help"), "sage pipeline [OPTIONS] COMMAND"),
        (("pipeline", "create-embedding", "-h"), "sage pipeline create-embedding [OPTIONS]"),
    ],
)
def test_help_at_every_level(sage: Any, words: tuple[str, ...], usage: str) -> None:
    done = sage(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith(f"Usage: {usage}")


def test_words_reach_the_command_as_they_were_typed(sage: Any) -> None:
    words = ("--backend", "mock", "-m", "any", "-p", "--help me", "--max-tokens", "5", "--json")
    done = sage("llm", "run", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["usage"]["completion_tokens"] == 5


def test_standard_input_and_exit_codes_pass(sage: Any) -> None:
    ok = sage("llm", "run", "--backend", "mock", "-m", "any", input="Hello")
    assert (ok.returncode, bool(ok.stdout.strip())) == (0, True)
    assert sage("llm", "run", "--backend", "none", "-m", "any", "-p", "x").returncode == 1
    assert sage("llm", "run", "--nope").returncode == 2


@pytest.mark.parametrize(
    ("words", "type_instead"),
    [
        (("pipeline", "create", "--vllm"), "sage pipeline create-embedding --engine sagellm"),
        (
            ("pipeline", "create-embedding", "--engine", "vllm"),
            "sage pipeline create-embedding --engine sagellm",
        ),
        (("llm", "config", "auto", "--prefer", "vllm"), "--prefer sagellm"),
        (("llm", "model", "list", "--vllm"), "sage llm model list"),
        (("llm", "serve"), "sage llm run -m MODEL -p TEXT"),
    ],
)
def test_what_was_removed_says_what_to_type(
    sage: Any, words: tuple[str, ...], type_instead: str
) -> None:
    done = sage(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert type_instead in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_command_that_another_plugin_has_stays_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    subparsers = _subparsers()
    other = subparsers.add_parser("llm")
    with caplog.at_level(logging.WARNING):
        register(subparsers)
    assert subparsers.choices["llm"] is other
    assert "pipeline" in subparsers.choices
    assert "sagellm llm" in caplog.text


@pytest.mark.parametrize("given", [None, object(), {}])
def test_whatever_sage_hands_over_nothing_is_raised(
    given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        register(given)
    assert "'sage llm' could not be added" in caplog.text


def test_registering_imports_next_to_nothing() -> None:
    code = (
        "import argparse, sys; parsers = argparse.ArgumentParser().add_subparsers()\n"
        "from sagellm_sage.cli import register; register(parsers)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint({"sagellm_core", "click", "pydantic", "yaml", "numpy", "torch"})
