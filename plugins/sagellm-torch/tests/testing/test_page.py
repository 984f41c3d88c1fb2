"""docs/vendors/simdevice.md: what it shows runs, and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_PAGE = Path(__file__).parents[4] / "docs" / "vendors" / "simdevice.md"
_FENCE = re.compile(r"^```(\w*)(?: (\w+))?\n(.*?)^```$", re.M | re.S)

pytestmark = pytest.mark.skipif(not _PAGE.exists(), reason="the page is in the repository only")


@pytest.fixture(scope="module")
def blocks() -> dict[tuple[str, str], list[str]]:
    """Texts by language and role."""
    found: dict[tuple[str, str], list[str]] = {}
    for language, role, text in _FENCE.findall(_PAGE.read_text(encoding="utf-8")):
        found.setdefault((language, role), []).append(text)
    return found


def _run(*command: str | Path, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_beginning_prints_what_it_says(blocks, tmp_path) -> None:
    (script,), (printed,) = blocks["python", ""], blocks["text", ""]
    (tmp_path / "script.py").write_text(script)
    assert _run(sys.executable, "script.py", cwd=tmp_path) == printed


def test_a_vendors_adapter_is_tested_as_shown(blocks, tmp_path) -> None:
    names = []
    for text in blocks["python", "orbit"]:
        name = text.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(text)
        names.append(name)
    assert names == ["orbit.py", "test_orbit.py"]
    printed = _run(
        sys.executable, "-m", "pytest", "-q", "-W", "error", "test_orbit.py", cwd=tmp_path
    )
    assert "3 passed" in printed


def test_the_commands_install_the_provider(blocks, tmp_path) -> None:
    (script,) = blocks["sh", ""]
    # What stands on the path of this interpreter, by the names that the page has.
    (tmp_path / "bin").mkdir()
    for name, arguments in (("python", ""), ("sagellm", "-m sagellm_core.cli ")):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        program.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    printed = _run("sh", "-ec", script, cwd=tmp_path, PATH=path)
    assert re.search(r"^sim +sagellm-sim +\S+ +ok$", printed, re.M)
