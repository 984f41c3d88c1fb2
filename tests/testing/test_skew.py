"""The oldest and the newest core that a plugin admits."""

from __future__ import annotations

import importlib.metadata
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

import sagellm_core
from sagellm_core.testing.other_core import VARIABLE, admitted_cores
from sagellm_core.testing.result import Outcome


def wheel(place: Path, version: str, change: Any = None) -> Path:
    """A wheel of this core that says it is another version.

    :param change: what becomes of a file's text, by its name; ``None``: nothing.
    """
    source = Path(sagellm_core.__file__).parent
    path = place / f"sagellm_core-{version}-py3-none-any.whl"
    info = f"sagellm_core-{version}.dist-info"
    metadata = importlib.metadata.distribution("sagellm-core").read_text("METADATA") or ""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(source.rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            name = f"sagellm_core/{file.relative_to(source).as_posix()}"
            if name == "sagellm_core/__init__.py":
                text = re.sub(r'__version__ = "[^"]*"', f'__version__ = "{version}"', text)
            archive.writestr(name, change(name, text) if change else text)
        said = re.sub(r"(?m)^Version: .*$", f"Version: {version}", metadata)
        archive.writestr(f"{info}/METADATA", said)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def without_queueing(name: str, text: str) -> str:
    """A contract as it was before it had queueing runners."""
    if name == "sagellm_core/contract/__init__.py":
        return text.replace('    "QueueingRunner": "runner",\n', "").replace(
            '    "QueueingRunner",\n', ""
        )
    return text


def test_both_are_tried(workshop: Any, told: Any, tmp_path: Path, monkeypatch: Any) -> None:
    for version in ("0.1.0", "0.1.7", "0.2.0", "0.0.9"):
        wheel(tmp_path, version)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert [str(each.version) for each in admitted_cores(">=0.1,<0.2")] == ["0.1.0", "0.1.7"]
    workshop.install("skewed")
    report = workshop.run("skewed", "skew")
    assert told(report) == {}
    passed = {each.id for each in report.of(Outcome.PASSED)}
    for age in ("oldest", "newest"):
        assert f"TestSkew::test_another_core_takes_it[{age}]" in passed


def test_a_plugin_that_needs_more_than_its_oldest_core_has(
    workshop: Any, told: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    wheel(tmp_path, "0.1.0", without_queueing)
    wheel(tmp_path, "0.1.7")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    workshop.install("hasty", "from sagellm_core.contract import QueueingRunner\n")
    # `import *` at its top is content with what there is.
    found = told(workshop.run("hasty", "skew"))
    assert set(found) == {"test_another_core_takes_it[oldest]"}
    (reason,) = found.values()
    assert reason.startswith("Core 0.1.0 cannot probe it: hasty (sagellm-hasty 1.0) raised Import")
    assert "QueueingRunner" in reason


def test_without_wheels_it_says_how_to_run_it(workshop: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    workshop.install("unskewed")
    skipped = workshop.run("unskewed", "skew").of(Outcome.SKIPPED)
    ran = [each for each in skipped if "another_core" in each.id]
    assert len(ran) == 2
    assert "pip download --no-deps -d cores sagellm-core==VERSION" in ran[0].reason


def test_a_directory_without_an_admitted_core_is_a_failure(
    workshop: Any, told: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    wheel(tmp_path, "0.2.0")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    workshop.install("lonely")
    found = told(workshop.run("lonely", "skew"))
    assert "has no wheel of sagellm-core that <0.2,>=0.1 admits" in " ".join(found.values())


pytestmark = pytest.mark.wheel
