"""``sagellm plugins new`` as a vendor meets it: written, built, installed, proven, in range."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from sagellm_core import __version__

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(1800)]
EVERYTHING = os.environ.get("SAGELLM_TEST_INSTALLS")
_CORE = Version(__version__)
LATER = f"{_CORE.major}.{_CORE.minor}.{_CORE.micro + 1}"


@pytest.mark.parametrize(
    ("kit", "run"),
    [
        ("none", ("run", "-b", "orbit-2", "-m", "any", "-p", "Hi", "--max-tokens", "3")),
        pytest.param(
            "torch",
            (),
            marks=pytest.mark.skipif(not EVERYTHING, reason="nox -s wheels installs torch for it"),
        ),
    ],
)
def test_a_new_repository_is_green_in_a_fresh_environment(
    environment: Any,
    wheelhouse: Any,
    tmp_path: Path,
    combination: Callable[[str], Any],
    kit: str,
    run: tuple[str, ...],
) -> None:
    row = combination(f"core + a new plugin (--kit {kit})")
    environment.install("sagellm-core")
    written = environment.run(
        "sagellm", "plugins", "new", "orbit-2", "--kit", kit, "--directory", "repo", cwd=tmp_path
    )
    assert written.returncode == 0, written.stderr
    wheelhouse.build(tmp_path / "repo", tmp_path / "dist")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    core = wheelhouse["sagellm-core"][0]
    environment.install(wheel, extras=(f"{core}[testing]",))
    row["installed"] = f"{len(environment.dists())} dists"
    listed = json.loads(environment.run("sagellm", "plugins", "list", "--json").stdout)
    assert [(entry["name"], entry["status"]) for entry in listed] == [("orbit-2", "ok")]
    row["list"] = "orbit-2"
    why = json.loads(environment.run("sagellm", "plugins", "why", "--json").stdout)
    assert [each["rejection"]["code"] for each in why["candidates"]] == ["simulated"]
    assert environment.run("sagellm", "plugins", "why", "-m", "x").returncode == 1
    row["why"] = "by name only"
    if run:
        done = environment.run("sagellm", *run)
        assert done.returncode == 0, done.stderr
    # Its tests are run where the package is not, so that the wheel is what they import.
    (tmp_path / "repo" / "tests").rename(tmp_path / "tests")
    # pytest would put compiled modules of its own beside ours, which pip knows nothing of.
    quiet = {"PYTHONDONTWRITEBYTECODE": "1"}
    done = environment.run("pytest", "-q", env=quiet, cwd=tmp_path / "tests", timeout=1500)
    assert done.returncode == 0, done.stdout
    row["run"] = done.stdout.splitlines()[-1].partition(" in ")[0]
    environment.pip("uninstall", "-y", "sagellm-orbit-2")
    assert environment.uninstall_ours() == []
    row["uninstalled"] = "nothing is left"


@pytest.mark.skipif(not EVERYTHING, reason="nox -s wheels installs tox for it")
def test_tox_runs_the_suite_on_the_oldest_and_the_newest_core(
    environment: Any, wheelhouse: Any, tmp_path: Path, combination: Callable[[str], Any]
) -> None:
    row = combination(f"a new plugin's tox: core {__version__} and {LATER}")
    environment.install("sagellm-core", extras=("tox",))
    where = ("--kit", "none", "--directory", str(tmp_path / "repo"))
    assert environment.run("sagellm", "plugins", "new", "orbit", *where).returncode == 0
    cores = tmp_path / "cores"
    cores.mkdir()
    for core in (wheelhouse["sagellm-core"][0], wheelhouse.core(LATER)):
        (cores / core.name).write_bytes(core.read_bytes())
    versions = "import sagellm_core as c; open('cores.txt', 'a').write(c.__version__ + ' ')"
    # Whatever the machine's pip finds elsewhere, both cores are found here.
    done = environment.run(
        "tox",
        "run",
        "-x",
        f"testenv.commands_pre=python -c {json.dumps(versions)}",
        cwd=tmp_path / "repo",
        env={"PIP_FIND_LINKS": f"{os.environ.get('PIP_FIND_LINKS', '')} {cores}".strip()},
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "repo" / "cores.txt").read_text().split() == [__version__, LATER]
    row["run"] = "green on both"
