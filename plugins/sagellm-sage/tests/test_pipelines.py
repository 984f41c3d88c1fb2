"""Pipelines where there is no SAGE; ``real/test_cli.py`` runs them in the real one."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


def _has_sage() -> bool:
    try:
        return find_spec("sage.runtime") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.skipif(_has_sage(), reason="SAGE is installed")
@pytest.mark.parametrize("ending", ["py", "yaml"])
def test_without_sage_the_error_says_what_to_do(tmp_path: Path, ending: str) -> None:
    (tmp_path / "text.txt").write_text("some text")
    file = f"pipe.{ending}"
    words = ("--backend", "mock", "-m", "any", "-d", "text.txt", "--runtime", "sage", "-o", file)
    for arguments in (("create-embedding", *words), ("run", file, "what?")):
        done = subprocess.run(
            [sys.executable, "-m", "sagellm_core.cli", "pipeline", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert "LocalEnvironment, which is not installed" in done.stderr
    assert "--runtime plain" in done.stderr
    assert "Traceback" not in done.stderr
