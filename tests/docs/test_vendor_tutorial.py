"""The tutorial for vendors, followed word for word: what its page says to type is all there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from sagellm_core import __version__

pytest.importorskip("sagellm_torch", reason="the tutorial's plugin is made with the torch kit")
pytest.importorskip("numpy", reason="the conformance suite needs NumPy")

TUTORIAL = (Path(__file__).parents[2] / "docs" / "vendors" / "tutorial.md").read_text(
    encoding="utf-8"
)
MOST_LINES = 150


def files_of(page: str) -> dict[str, str]:
    """Path to text: the first line of a block names its file, and blocks of one file follow."""
    files: dict[str, str] = {}
    for block in re.findall(r"^```(?:python|toml)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        name, _, text = block.partition("\n")
        path = name.removeprefix("# ")
        assert re.fullmatch(r"[\w./]+\.(py|toml)", path), name
        files[path] = files.get(path, "") + text
    return files


class Installed:
    """The tutorial's files, and the package as a distribution beside the test's own."""

    def __init__(self, place: Path, page: str) -> None:
        self.place = place / "sagellm-orbit"
        for path, text in files_of(page).items():
            file = self.place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        project = tomllib.loads((self.place / "pyproject.toml").read_text())["project"]
        self.site = place / "site"
        info = self.site / "sagellm_orbit-0.1.0.dist-info"
        info.mkdir(parents=True)
        needs = [f"Requires-Dist: {each}" for each in project["dependencies"]]
        head = ["Metadata-Version: 2.1"]
        head += [f"Name: {project['name']}", f"Version: {project['version']}"]
        (info / "METADATA").write_text("\n".join([*head, *needs]) + "\n")
        ((group, points),) = project["entry-points"].items()
        lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        (self.site / "sagellm_orbit").symlink_to(self.place / "sagellm_orbit")

    def run(
        self, *command: str, env: Mapping[str, str], timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *command],
            env={**env, "PYTHONPATH": str(self.site), "OMP_NUM_THREADS": "1"},
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The variables of a user with a home directory of their own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAGE", "PYTEST", "ORBIT", "XDG_"))
    }
    return {**kept, "HOME": str(tmp_path)}


def test_plugin_and_adapter_are_short() -> None:
    files = files_of(TUTORIAL)
    plugin = {path: text for path, text in files.items() if path.startswith("sagellm_orbit/")}
    assert set(plugin) == {f"sagellm_orbit/{name}.py" for name in ("__init__", "adapter", "plugin")}
    lines = sum(len(text.splitlines()) for text in plugin.values())
    assert lines <= MOST_LINES
    told = re.search(r"The plugin has about (\d+) lines", TUTORIAL)
    assert told is not None
    assert abs(int(told[1]) - lines) < 10


def test_the_range_of_cores_has_this_one() -> None:
    project = tomllib.loads(files_of(TUTORIAL)["pyproject.toml"])["project"]
    needs = {need.name: need.specifier for need in map(Requirement, project["dependencies"])}
    assert __version__ in needs["sagellm-core"]


def test_what_the_page_shows_in_the_middle_is_what_comes(
    tmp_path: Path, env: dict[str, str]
) -> None:
    until, _, after = TUTORIAL.partition("Install it and look:")
    installed = Installed(tmp_path, until)
    shown = re.search(r"```\n(.*?)```", after, re.DOTALL)
    assert shown is not None
    commands = re.split(r"^\$ (.*)\n", shown[1], flags=re.MULTILINE)[1:]
    told = dict(zip(commands[::2], commands[1::2], strict=True))
    for command, output in told.items():
        if not command.startswith("sagellm "):
            continue
        done = installed.run("sagellm_core.cli", *command.split()[1:], env=env)
        came = [" ".join(line.split()) for line in (done.stdout + done.stderr).splitlines()]
        for line in output.splitlines():
            assert " ".join(line.split()) in came, done.stdout + done.stderr


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """What came of the last command of the page: ``pytest``."""
    place = tmp_path_factory.mktemp("tutorial")
    installed = Installed(place, TUTORIAL)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = ("pytest", "-q", "-p", "no:cacheprovider", "--junitxml", str(place / "results.xml"))
    done = installed.run(*command, env=kept, timeout=1500)
    return done, ElementTree.parse(place / "results.xml").getroot()


@pytest.mark.timeout(1800)
def test_the_suite_is_green(proven: tuple[Any, Any]) -> None:
    done, _ = proven
    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(1800)
def test_every_group_has_tests_that_passed(proven: tuple[Any, Any]) -> None:
    from sagellm_core.testing import suite
    from sagellm_core.testing.groups import GROUPS
    from sagellm_core.testing.marks import GROUP

    passed: Counter[str] = Counter()
    for case in proven[1].iter("testcase"):
        if not len(case):  # neither failure, nor error, nor skipped
            passed[getattr(getattr(suite, case.get("classname").split(".")[-1]), GROUP)] += 1
    assert all(passed[group] for group in GROUPS), passed
    for group in GROUPS:
        assert f"- **{group}**: " in TUTORIAL


@pytest.mark.timeout(1800)
def test_every_declared_capability_is_proven(proven: tuple[Any, Any]) -> None:
    names = {case.get("name") for case in proven[1].iter("testcase") if not len(case)}
    for capability in ("generate", "embed", "logprobs"):
        assert f"test_has_a_passing_test[{capability}]" in names
