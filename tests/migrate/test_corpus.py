"""Every old form, and everything that only looks like one, as written-out cases."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from sagellm_core.cli.migrate import command
from sagellm_core.cli.state import State
from sagellm_core.config.checking import find_faults

CORPUS = Path(__file__).parent / "corpus"


def migrate(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(command, [*arguments, "--json", "."], obj=State())
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, json.loads(done.output)


def listed(data: dict[str, Any], name: str) -> list[str]:
    return [
        f"{file['path']}:{finding['line']}: {finding['text']}"
        for file in data["files"]
        for finding in file[name]
    ]


@pytest.fixture
def work(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in case.before.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_before_becomes_after_and_all_else_is_listed(case: Any, work: Path) -> None:
    code, data = migrate(*case.options, "--write")
    assert code == 0
    assert {name: (work / name).read_text(encoding="utf-8") for name in case.after} == case.after
    assert listed(data, "left") == case.left
    assert listed(data, "check") == case.check
    assert {path.name for path in work.iterdir()} == set(case.before)


def test_a_dry_run_and_a_check_write_nothing(case: Any, work: Path) -> None:
    changes = case.before != case.after
    assert migrate(*case.options)[0] == 0
    assert migrate(*case.options, "--check")[0] == (1 if changes else 0)
    assert {name: (work / name).read_text(encoding="utf-8") for name in case.before} == case.before


def test_a_second_run_changes_nothing(case: Any, work: Path) -> None:
    migrate(*case.options, "--write")
    code, data = migrate(*case.options, "--check")
    assert code == 0
    assert not any(file["changed"] for file in data["files"])


def test_what_is_written_is_well_formed(case: Any) -> None:
    for name, text in case.after.items():
        if text == case.before[name]:
            continue
        if name.endswith(".py"):
            compile(text, name, "exec")
        elif name.endswith(".toml"):
            tomllib.loads(text)
        elif name.endswith(".yaml"):
            for document in yaml.safe_load_all(text):
                for section in sections(document):
                    assert find_faults(section) == []
                    assert section["model_path"]


def test_the_corpus_is_large() -> None:
    assert len(list(CORPUS.glob("*.txt"))) >= 90


def sections(node: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if isinstance(node, dict):
        generator = node.get("generator")
        if isinstance(generator, dict) and isinstance(generator.get("sagellm"), dict):
            found.append(generator["sagellm"])
        for value in node.values():
            found += sections(value)
    elif isinstance(node, list):
        for item in node:
            found += sections(item)
    return found
