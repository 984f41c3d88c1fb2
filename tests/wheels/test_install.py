"""What a user gets from pip: wheels and sdists that install on their own, and their size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheel

ROOT = Path(__file__).parents[2]
DISTS = {
    "sagellm-core": ROOT,
    "sagellm-mock": ROOT / "plugins" / "sagellm-mock",
    "sagellm-torch": ROOT / "plugins" / "sagellm-torch",
    "sagellm-cpu": ROOT / "plugins" / "sagellm-cpu",
    "sagellm-sage": ROOT / "plugins" / "sagellm-sage",
    "sagellm-backend": ROOT / "plugins" / "sagellm-backend",
}
#: What each wheel puts into site-packages beside its metadata.
PACKAGES = {name: {name.replace("-", "_")} for name in DISTS} | {
    "sagellm-sage": {"sagellm_sage", "sage"},
    "sagellm-backend": set(),
}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """The sdist of each distribution, and the wheel built from that sdist."""
    found = {}
    for name, source in DISTS.items():
        out = tmp_path_factory.mktemp(name)
        subprocess.run(
            [sys.executable, "-m", "build", "--outdir", str(out), str(source)],
            check=True,
            capture_output=True,
        )
        (wheel,) = out.glob("*.whl")
        (sdist,) = out.glob("*.tar.gz")
        found[name] = (wheel, sdist)
    return found


@pytest.fixture(scope="session")
def fresh(
    tmp_path_factory: pytest.TempPathFactory, built: dict[str, tuple[Path, Path]]
) -> Callable[..., Path]:
    """Makes an environment with the named distributions; gives its bin directory."""

    def make(*names: str) -> Path:
        where = tmp_path_factory.mktemp("env")
        venv.create(where, with_pip=True)
        wheels = [str(built[name][0]) for name in names]
        subprocess.run(
            [where / "bin" / "python", "-m", "pip", "install", "--quiet", *wheels],
            check=True,
            capture_output=True,
        )
        return where / "bin"

    return make


@pytest.fixture(scope="session")
def core_and_mock(fresh: Callable[..., Path]) -> Path:
    return fresh("sagellm-core", "sagellm-mock")


@pytest.fixture(scope="session")
def core_alone(fresh: Callable[..., Path]) -> Path:
    return fresh("sagellm-core")


def run(bin_: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "SAGELLM"))}
    return subprocess.run(
        [bin_ / command[0], *command[1:]],
        capture_output=True,
        text=True,
        env=environment,
        cwd=bin_,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", DISTS)
def test_each_wheel_holds_its_package_and_licence_and_nothing_else(
    built: dict[str, tuple[Path, Path]], name: str
) -> None:
    wheel = built[name][0]
    names = zipfile.ZipFile(wheel).namelist()
    tops = {entry.split("/")[0] for entry in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES[name]
    assert any(entry.endswith("licenses/LICENSE") for entry in names)
    for package in PACKAGES[name] - {"sage"}:  # a namespace that others share
        assert f"{package}/py.typed" in names
    assert not any("test" in Path(entry).name and entry.endswith(".py") for entry in names)


@pytest.mark.parametrize("name", DISTS)
def test_each_sdist_holds_its_tests_changelog_and_licence(
    built: dict[str, tuple[Path, Path]], name: str
) -> None:
    with tarfile.open(built[name][1]) as archive:
        names = {entry.split("/", 1)[1] for entry in archive.getnames() if "/" in entry}
    assert {"LICENSE", "CHANGELOG.md", "README.md", "pyproject.toml"} <= names
    assert any(entry.startswith("tests/") for entry in names)


def test_the_core_wheel_is_small(built: dict[str, tuple[Path, Path]]) -> None:
    assert built["sagellm-core"][0].stat().st_size < 450_000


def test_core_brings_few_distributions_and_little_weight(core_alone: Path) -> None:
    listed = json.loads(run(core_alone, "python", "-m", "pip", "list", "--format=json").stdout)
    names = {entry["name"] for entry in listed} - {"pip", "setuptools"}
    assert len(names) <= 15, names
    (site,) = core_alone.parent.glob("lib/python*/site-packages")
    not_ours = ("pip", "setuptools", "_distutils_hack", "pkg_resources")
    size = sum(
        file.stat().st_size
        for entry in site.iterdir()
        if not entry.name.startswith(not_ours)
        for file in ([entry] if entry.is_file() else entry.rglob("*"))
        if file.is_file()
    )
    assert size <= 20_000_000


def test_core_alone_says_what_to_install(core_alone: Path) -> None:
    assert run(core_alone, "sagellm", "plugins", "list").returncode == 0
    done = run(core_alone, "sagellm", "run", "--backend", "mock", "-m", "x", "-p", "Hello")
    assert done.returncode == 1
    assert "pip install sagellm-mock" in done.stderr
    assert "Traceback" not in done.stderr


def test_core_and_mock_answer_a_prompt(core_and_mock: Path) -> None:
    command = ("sagellm", "run", "--backend", "mock", "-m", "any", "-p", "Hello", "--json")
    done = run(core_and_mock, *command, "--max-tokens", "3", "-t", "0")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["token_ids"]) <= 3
    assert result["provider"]["dist"] == "sagellm-mock"


def test_auto_never_picks_the_mock(core_and_mock: Path, tmp_path: Path) -> None:
    done = run(core_and_mock, "sagellm", "run", "-m", str(tmp_path), "-p", "Hello")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
