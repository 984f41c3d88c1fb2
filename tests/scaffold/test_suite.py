"""A new plugin's own suite, as it is written and after what its README says to replace."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from sagellm_core.scaffold import Repository, check_name, write_repository

pytest.importorskip("numpy", reason="the conformance suite needs NumPy")

_SIMULATED = 'return [DeviceInfo(id="orbit:0", state=DeviceState.USABLE, name="Simulated device")]'
_ABSENT = """\
return [
        DeviceInfo(id="orbit", state=DeviceState.ABSENT, reason="there is no /dev/orbit0")
    ]"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A repository in plain Python; its package lies in ``site`` with the metadata of a wheel."""
    repository = Repository(name=check_name("orbit"), vendor="Example Inc.", kit="none")
    write_repository(repository.texts(), tmp_path / "repo")
    project = tomllib.loads((tmp_path / "repo" / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / "sagellm_orbit-0.1.0.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", "Name: sagellm-orbit", "Version: 0.1.0"]
    lines += [f"Requires-Dist: {need}" for need in project["dependencies"]]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    ((group, points),) = project["entry-points"].items()
    (info / "entry_points.txt").write_text(f"[{group}]\norbit = {points['orbit']}\n")
    (tmp_path / "site" / "sagellm_orbit").symlink_to(tmp_path / "repo" / "sagellm_orbit")
    return tmp_path / "repo"


@pytest.fixture
def suite(place: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    """Runs the repository's tests."""

    def run() -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "SAGELLM"))}
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"],
            cwd=place,
            env={**kept, "PYTHONPATH": str(place.parent / "site")},
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )

    return run


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, old
    file.write_text(text.replace(old, new))


def test_it_is_green_as_it_is(suite: Callable[[], subprocess.CompletedProcess[str]]) -> None:
    done = suite()
    assert done.returncode == 0, done.stdout


def test_it_stays_green_on_a_machine_without_the_device(
    place: Path, suite: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    package, tests = place / "sagellm_orbit", place / "tests"
    replace(package / "devices.py", _SIMULATED, _ABSENT)
    replace(package / "plugin.py", "= DeviceClass.SIMULATED", "= DeviceClass.ACCELERATOR")
    conformance = tests / "test_conformance.py"
    replace(conformance, "device_required=True", "device_required=False")
    detection = (tests / "test_devices.py").read_text()
    kept, last, _ = detection.partition("\n\ndef test_until_it_is_replaced")
    assert last
    (tests / "test_devices.py").write_text(kept)
    done = suite()
    assert done.returncode == 0, done.stdout
    assert "there is no /dev/orbit0" in done.stdout


def test_it_turns_red_where_the_cache_is_mixed_up(
    place: Path, suite: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    runner = place / "sagellm_orbit" / "runner.py"
    placed = "cache[slot.table[position // size] * size + position % size]"
    replace(runner, placed, "cache[position]")
    done = suite()
    assert done.returncode == 1
    assert "test_scattered_equals_contiguous_blocks" in done.stdout
