"""Wheels of this repository, fresh environments to install them into, and a table of both."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator, Sequence
from email.parser import HeaderParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
#: Set by ``nox -s wheels``: what installs torch, again and again, is run too.
EVERYTHING = "SAGELLM_TEST_INSTALLS"
COLUMNS = ("installed", "list", "why", "run", "uninstalled")
_ROWS: pytest.StashKey[list[Row]] = pytest.StashKey()


def all_dists() -> dict[str, Path]:
    """Distribution to its source directory: core, and whatever lies in ``plugins``."""
    found = {}
    for project in (ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))):
        found[tomllib.loads(project.read_text())["project"]["name"]] = project.parent
    return found


def build(source: Path, out: Path, *flags: str) -> None:
    """Build distributions, with the back end that is installed or in an environment of its own."""
    if find_spec("hatchling") is not None:
        flags = (*flags, "--no-isolation")
    command = [sys.executable, "-m", "build", *flags, "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Wheelhouse:
    """The wheels and sdists of this repository, built when they are asked for."""

    def __init__(self, place: Path) -> None:
        self.sources = all_dists()
        self._place = place
        self._built: dict[str, tuple[Path, Path]] = {}

    def __getitem__(self, name: str) -> tuple[Path, Path]:
        """The wheel, which was built from the sdist, and the sdist."""
        if name not in self._built:
            out = self._place / name
            build(self.sources[name], out)
            (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
            self._built[name] = wheel, sdist
        return self._built[name]

    def build(self, source: Path, out: Path) -> None:
        """Build a wheel of something else into ``out``."""
        build(source, out, "--wheel")

    def closure(self, names: Sequence[str], own: Sequence[Path] = ()) -> list[Path]:
        """Wheels of ``names``, and of all of ours that these, or the wheels ``own``, ask for."""
        wanted, wheels = list(names), list(own)
        for wheel in own:
            wanted += self._ours(wheel)
        done: list[str] = []
        while wanted:
            name = wanted.pop()
            if name not in done:
                done.append(name)
                wheels.append(self[name][0])
                wanted += self._ours(self[name][0])
        return wheels

    def _ours(self, wheel: Path) -> list[str]:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
            headers = HeaderParser().parsestr(archive.read(name).decode())
        requirements = map(Requirement, headers.get_all("Requires-Dist") or [])
        return [
            need.name
            for need in requirements
            if need.name in self.sources
            and (need.marker is None or need.marker.evaluate({"extra": ""}))
        ]

    def core(self, version: str) -> Path:
        """A wheel of core as it is here, but for its version."""
        key = f"core-{version}"
        if key not in self._built:
            copy = self._place / f"{key}-source"
            shutil.copytree(
                ROOT / "sagellm_core", copy / "sagellm_core", ignore=lambda *_: ["__pycache__"]
            )
            for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
                shutil.copy(ROOT / name, copy)
            init = copy / "sagellm_core" / "__init__.py"
            text, count = re.subn(
                r'^__version__ = ".*"$', f'__version__ = "{version}"', init.read_text(), flags=re.M
            )
            assert count == 1
            init.write_text(text)
            build(copy, self._place / key, "--wheel")
            (wheel,) = (self._place / key).glob("*.whl")
            self._built[key] = wheel, wheel
        return self._built[key][0]


class Environment:
    """A fresh virtual environment, and a home directory that nobody has used."""

    def __init__(self, place: Path, wheelhouse: Wheelhouse) -> None:
        self.place = place / "env"
        self.home = place / "home"
        self.home.mkdir()
        self._wheelhouse = wheelhouse
        venv.create(self.place, with_pip=True)
        self.before = self.files()

    @property
    def bin(self) -> Path:
        """Where its commands are."""
        return self.place / "bin"

    @property
    def site(self) -> Path:
        """Its site-packages."""
        (site,) = self.place.glob("lib/python*/site-packages")
        return site

    def files(self) -> set[str]:
        """Every file in it, but for what Python compiled of pip."""
        found = (path for path in self.place.rglob("*") if path.is_file() or path.is_symlink())
        names = {str(path.relative_to(self.place)) for path in found}
        return {name for name in names if not re.search(r"/(pip|setuptools)/.*\.pyc$", name)}

    def install(self, *what: str | Path, extras: Sequence[str] = ()) -> None:
        """Distributions of ours by name, or wheels; what they ask for comes with them."""
        names = [each for each in what if isinstance(each, str)]
        wheels = self._wheelhouse.closure(names, [each for each in what if isinstance(each, Path)])
        own = {wheel.name.partition("-")[0] for wheel in what if isinstance(wheel, Path)}
        wanted = [
            str(wheel) for wheel in wheels if wheel in what or wheel.name.split("-")[0] not in own
        ]
        self.pip("install", "-c", str(ROOT / "constraints.txt"), *wanted, *extras)

    def pip(self, *arguments: str) -> str:
        """Run its pip, which must succeed."""
        done = self.run("python", "-m", "pip", *arguments, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(
        self,
        *command: str,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its commands, without the variables and the home of whoever runs the tests."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "SAGELLM", "SAGE_", "HF_", "XDG_", "VIRTUAL_ENV"))
        }
        path = f"{self.bin}{os.pathsep}{kept.get('PATH', '')}"
        return subprocess.run(
            [self.bin / command[0], *command[1:]],
            capture_output=True,
            text=True,
            env={**kept, "HOME": str(self.home), "PATH": path, **(env or {})},
            cwd=cwd or self.home,
            timeout=timeout,
            check=False,
        )

    def dists(self) -> set[str]:
        """What pip knows to be installed."""
        listed = self.pip("list", "--format=freeze", "--disable-pip-version-check")
        names = {line.partition("==")[0].lower() for line in listed.splitlines() if "==" in line}
        return names - {"pip", "setuptools"}

    def uninstall_ours(self) -> list[str]:
        """Remove every distribution of ours; what is left of them.

        Files by name, entry points, the console script.
        """
        ours = sorted(name for name in self.dists() if name.startswith("sagellm"))
        self.pip("uninstall", "-y", *ours)
        left = [
            name
            for name in self.files() - self.before
            if re.search(r"(^|/)(sagellm|sage(/|$|[-_.]))", name)
        ]
        code = (
            "from importlib.metadata import distributions;"
            "print([p.value for d in distributions() for p in d.entry_points"
            " if 'sagellm' in p.group + p.value])"
        )
        points = self.run("python", "-c", code).stdout.strip()
        return sorted(left) + ([] if points == "[]" else [points])


class Row:
    """One line of the table."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cells: dict[str, str] = {}

    def __setitem__(self, column: str, cell: str) -> None:
        assert column in COLUMNS
        self.cells[column] = cell


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    return Wheelhouse(tmp_path_factory.mktemp("wheelhouse"))


@pytest.fixture
def environment(tmp_path: Path, wheelhouse: Wheelhouse) -> Iterator[Environment]:
    """Gone after the test: with torch it has most of a gigabyte."""
    made = Environment(tmp_path, wheelhouse)
    yield made
    shutil.rmtree(made.place)


@pytest.fixture
def combination(request: pytest.FixtureRequest) -> Callable[[str], Row]:
    """Begins a line of the table that stands at the end of the session."""

    def begin(name: str) -> Row:
        row = Row(name)
        request.config.stash.setdefault(_ROWS, []).append(row)
        return row

    return begin


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows = terminalreporter.config.stash.get(_ROWS, [])
    if not rows:
        return
    table = [("combination", *COLUMNS)]
    table += [(row.name, *(row.cells.get(column, "-") for column in COLUMNS)) for row in rows]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    terminalreporter.section("wheels in fresh environments")
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "dist" in metafunc.fixturenames:
        metafunc.parametrize("dist", all_dists())
