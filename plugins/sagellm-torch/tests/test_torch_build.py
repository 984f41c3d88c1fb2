"""What torch was built for, read from made installations and from the real one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagellm_torch.torch_build import TorchBuild, installed_torch

#: As torch's own build writes them, older and newer.
_PLAIN = """\
__version__ = '2.0.0+tool118'
debug = False
tool = '11.8'
git_version = 'c263bd43e8e8502d4726643bc6fd046f0130ac0e'
other = None
"""
_ANNOTATED = """\
from typing import Optional

__all__ = ['__version__', 'debug', 'tool', 'git_version', 'other']
__version__ = '2.13.0'
debug = False
tool: Optional[str] = None
git_version = 'cf30153c4c131c8164ee7798e5022d810682e2cb'
other: Optional[str] = '6.3.42131-fa1d09cbd'
"""


def _install(place: Path, source: str | bytes | None) -> list[str]:
    (place / "torch").mkdir(parents=True)
    (place / "torch/__init__.py").write_text("raise AssertionError('imported')")
    if source is not None:
        raw = source.encode() if isinstance(source, str) else source
        (place / "torch/version.py").write_bytes(raw)
    return [str(place)]


@pytest.mark.parametrize(
    ("source", "version", "toolkits"),
    [
        (_PLAIN, "2.0.0+tool118", {"tool": "11.8"}),
        (_ANNOTATED, "2.13.0", {"other": "6.3.42131-fa1d09cbd"}),
        ("__version__ = '2.1+cpu'\ntool = None\n", "2.1+cpu", {}),
        ("__version__ = compute()\n", "", {}),
    ],
)
def test_a_build_says_its_toolkits(tmp_path, source, version, toolkits) -> None:
    found = installed_torch(_install(tmp_path, source))
    assert found == TorchBuild(version, toolkits)


@pytest.mark.parametrize("source", [None, "this is no Python", b"nul\0byte = '1'"])
def test_a_build_that_cannot_be_read_says_nothing(tmp_path, source) -> None:
    found = installed_torch(_install(tmp_path, source))
    assert found == TorchBuild("", None)
    assert str(found) == "torch"


def test_no_torch(tmp_path) -> None:
    assert installed_torch([str(tmp_path)]) is None
    (tmp_path / "torch").mkdir()
    assert installed_torch([str(tmp_path)]) is None


def test_the_real_one_is_read_without_importing_it() -> None:
    script = """
import sys
from sagellm_torch.torch_build import installed_torch
found = installed_torch()
assert "torch" not in sys.modules
import torch
assert found.version == torch.__version__
assert found.toolkits.get("cuda") == torch.version.cuda
assert found.toolkits.get("hip") == torch.version.hip
print(found)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("torch 2")


@given(source=st.text(max_size=60))
def test_any_file_is_read_or_not(tmp_path_factory, source) -> None:
    found = installed_torch(_install(tmp_path_factory.mktemp("made"), source))
    assert isinstance(found, TorchBuild)
