"""docs/vendors/detection.md: its detector passes its tests, and its tests can fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

_PAGE = Path(__file__).parents[2] / "docs/vendors/detection.md"
_BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.M | re.S)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The page's files, where its reader would have written them."""
    if find_spec("sagellm_torch") is None:
        pytest.skip("sagellm-torch is not installed")
    for name, source in _BLOCK.findall(_PAGE.read_text()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    (tmp_path / "sagellm_orbit/__init__.py").touch()
    return tmp_path


def _tested(repository: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=repository,
        env={
            **os.environ,
            "PYTHONPATH": str(repository),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.splitlines()[-1]


def test_its_tests_pass(repository: Path) -> None:
    assert "5 passed" in _tested(repository)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("elif not access(node):", "elif not may_open(node):"),
        ('if env.get(VARIABLE) == "":', "if not env:"),
        ("VENDOR = 0x1234", "VENDOR = 0x4321"),
    ],
)
def test_its_tests_catch_what_is_wrong(repository: Path, right: str, wrong: str) -> None:
    module = repository / "sagellm_orbit/detection.py"
    source = module.read_text()
    assert source.count(right) == 1
    module.write_text(source.replace(right, wrong))
    assert "failed" in _tested(repository)
