"""Another version of core, in an environment of its own, beside the plugin as it is here."""

from __future__ import annotations

import importlib.util
import json
import os
import site
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from sagellm_core.providers.requirement import CORE_DIST

from .finding import fail, skip

#: Names a directory with wheels of core.
VARIABLE = "SAGELLM_CONFORMANCE_CORES"
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class CoreWheel:
    """A wheel of core."""

    version: Version
    path: Path


def admitted_cores(specifier: str) -> list[CoreWheel]:
    """Wheels in the directory that :data:`VARIABLE` names, oldest first; skips without one.

    :param specifier: which versions the plugin admits.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        skip(
            f"To run this test, put wheels of other versions of {CORE_DIST} into a directory "
            f"(pip download --no-deps -d cores {CORE_DIST}==VERSION) and set {VARIABLE} to it."
        )
    admitted = SpecifierSet(specifier)
    found = []
    for path in Path(named).glob("*.whl"):
        try:
            name, version, _, _ = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        if name == CORE_DIST and admitted.contains(version, prereleases=True):
            found.append(CoreWheel(version, path))
    if not found:
        fail(f"{named} has no wheel of {CORE_DIST} that {specifier} admits.")
    return sorted(found, key=lambda wheel: wheel.version)


class OtherCore:
    """An environment whose own packages are one wheel of core.

    All else, the plugin included, comes from this process's environment, behind it.

    :param place: a directory to make it in, which does not exist yet.
    """

    def __init__(self, wheel: CoreWheel, place: Path) -> None:
        self.wheel = wheel
        if importlib.util.find_spec("pip") is None:
            skip("To install another core, this test needs pip: python -m ensurepip")
        venv.create(place, symlinks=True, with_pip=False)
        self._python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
        # Without the variables that would put other places before the wheel.
        self._env = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
        }
        pip = [sys.executable, "-m", "pip", "--python", str(self._python)]
        self._run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel.path)])
        (home,) = place.glob("lib/python*/site-packages")
        lines = [f"import site; site.addsitedir({each!r})" for each in _site_directories()]
        (home / "behind.pth").write_text("\n".join([*_plain_directories(), *lines]) + "\n")
        code = "import sagellm_core; print(sagellm_core.__version__)"
        answered = self._run([str(self._python), "-c", code]).strip()
        if Version(answered) != wheel.version:
            fail(f"The environment made for core {wheel.version} has core {answered}.")

    def sagellm(self, *words: str) -> Any:
        """What the other core's command prints as JSON."""
        command = [str(self._python), "-m", "sagellm_core.cli", *words, "--json"]
        return json.loads(self._run(command, may_fail=True).splitlines()[-1])

    def _run(self, command: list[str], *, may_fail: bool = False) -> str:
        done = subprocess.run(
            command,
            env=self._env,
            cwd=Path(self._python).parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        if (done.returncode and not may_fail) or (may_fail and not done.stdout.strip()):
            words = " ".join(command)
            fail(f"With core {self.wheel.version}, `{words}` failed:\n{done.stderr[-2000:]}")
        return done.stdout


def _site_directories() -> list[str]:
    """Directories whose ``.pth`` files count, as those of editable installs."""
    found = [*site.getsitepackages(), site.getusersitepackages()]
    return [each for each in found if each in sys.path]


def _plain_directories() -> list[str]:
    """Other directories on the path, as of plugins that are not installed but found."""
    library = str(Path(os.__file__).parent)
    skipped = {*_site_directories(), library, str(Path(library) / "lib-dynload")}
    return [
        each
        for each in sys.path
        if each not in skipped
        and Path(each).is_dir()
        and not (Path(each) / "sagellm_core").exists()
    ]
