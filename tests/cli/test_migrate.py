"""``sagellm migrate`` as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OLD = """\
from sage.middleware.operators.llm import VLLMGenerator
gen = VLLMGenerator(service_name="vllm_service")
print(gen.execute("Hello")["generated"])
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    (path / "app.py").write_text(OLD)
    (path / "requirements.txt").write_text("vllm==0.6.0\n")
    return path


def test_a_dry_run_shows_a_diff_and_what_is_left(sagellm: Callable[..., Any], old: Path) -> None:
    done = sagellm("migrate", str(old))
    assert done.returncode == 0
    assert "-vllm==0.6.0\n+sagellm-backend\n" in done.stdout
    assert f"{old / 'app.py'}:2: VLLMGenerator: which model" in done.stdout
    assert "1 file would change, 1 change, 1 left for you. Nothing was written" in done.stdout
    assert "\x1b" not in done.stdout
    assert (old / "requirements.txt").read_text() == "vllm==0.6.0\n"


def test_the_diff_can_be_applied(sagellm: Callable[..., Any], old: Path) -> None:
    done = sagellm("migrate", "-m", "a/b", str(old))
    subprocess.run(["patch", "-p0", "-s"], input=done.stdout.encode(), cwd="/", check=True)
    assert 'model_path="a/b"' in (old / "app.py").read_text()


def test_write_changes_files_and_check_is_for_ci(sagellm: Callable[..., Any], old: Path) -> None:
    arguments = ("migrate", "--model", "a/b", "--backend", "mock", str(old))
    assert sagellm(*arguments, "--check").returncode == 1
    done = sagellm(*arguments, "--write")
    assert done.returncode == 0
    assert "2 files changed" in done.stdout
    assert 'backend_type="mock", model_path="a/b"' in (old / "app.py").read_text()
    again = sagellm(*arguments, "--check")
    assert (again.returncode, again.stdout) == (0, "Nothing to migrate.\n")


def test_what_was_written_runs(sagellm: Callable[..., Any], old: Path) -> None:
    pytest.importorskip("sagellm_sage")
    sagellm("migrate", "--model", "a/b", "--backend", "mock", "--write", str(old))
    done = subprocess.run(
        [sys.executable, str(old / "app.py")],
        env=sagellm.env,  # type: ignore[attr-defined]
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_json_has_everything(sagellm: Callable[..., Any], old: Path) -> None:
    data = json.loads(sagellm("migrate", "--json", "--write", str(old)).stdout)
    app, requirements = data["files"]
    assert (app["changed"], app["written"], app["left"][0]["line"]) == (False, False, 2)
    assert (requirements["changed"], requirements["written"]) == (True, True)
    assert requirements["changes"] == [{"line": 1, "text": "vllm==0.6.0 -> sagellm-backend"}]


def test_a_read_only_file_is_reported_and_the_others_are_written(
    sagellm: Callable[..., Any], old: Path
) -> None:
    if os.geteuid() == 0:
        # root may write to anything; a directory in the way of the temporary file's name cannot
        # be made, so what is tested here needs an ordinary user
        pytest.skip("root can write read-only files")
    (old / "app.py").chmod(0o444)
    done = sagellm("migrate", "-m", "a/b", "--write", str(old))
    assert done.returncode == 1
    assert "app.py was not written" in done.stderr
    assert (old / "requirements.txt").read_text() == "sagellm-backend\n"


def test_errors(sagellm: Callable[..., Any], old: Path) -> None:
    done = sagellm("migrate", str(old / "nope"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no file or directory" in done.stderr
    assert sagellm("migrate").returncode == 2
    assert sagellm("migrate", "--check", "--write", str(old)).returncode == 2


def test_without_libcst_python_says_what_to_install(
    sagellm: Callable[..., Any], old: Path, tmp_path: Path
) -> None:
    blocker = tmp_path / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'libcst':\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    done = sagellm("migrate", str(old), path=blocker)
    assert done.returncode == 1
    assert 'hint: pip install "sagellm-core[migrate]"' in done.stderr
    assert sagellm("migrate", str(old / "requirements.txt"), path=blocker).returncode == 0


def test_colours_on_a_terminal_unless_no_color(terminal: Callable[..., Any], old: Path) -> None:
    assert "\x1b[32m+sagellm-backend" in _shown(terminal, old)
    assert "\x1b[32m" not in _shown(terminal, old, NO_COLOR="1")


def _shown(terminal: Callable[..., Any], old: Path, **env: str) -> str:
    code, text = terminal("migrate", str(old), **env).end()
    assert code == 0
    return text
