"""What the wheel holds: a namespace's files without any package of SAGE's."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_DIST = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> list[str]:
    pytest.importorskip("build")
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(_DIST)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.mark.wheel
def test_the_namespace_has_two_modules_and_no_package(names) -> None:
    assert sorted(name for name in names if name.startswith("sage/")) == [
        "sage/common/model_registry.py",
        "sage/middleware/operators/llm.py",
    ]


@pytest.mark.wheel
def test_nothing_else_is_at_the_top(names) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sage", "sagellm_sage"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
