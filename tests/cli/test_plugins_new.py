from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def new(
    sagellm: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """``sagellm plugins new`` in an empty directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return lambda *arguments, **more: sagellm("plugins", "new", *arguments, **more)


def test_it_writes_a_repository_and_says_what_to_do_next(new: Callable[..., Any]) -> None:
    done = new("orbit")
    assert done.returncode == 0, done.stderr
    written = sorted(str(path) for path in Path().rglob("*") if path.is_file())
    assert done.stdout.split("\n\n")[0].splitlines() == written
    assert "sagellm-orbit/sagellm_orbit/adapter.py" in written
    for step in ("cd sagellm-orbit", "pip install -e '.[test]'", "pytest", "REPLACE"):
        assert step in done.stderr


def test_options_reach_the_files(new: Callable[..., Any]) -> None:
    flags = ("--kit", "none", "--vendor", "Example Inc.", "--device-class", "cpu")
    assert new("orbit", *flags, "--directory", "deep/here").returncode == 0
    plugin = Path("deep/here/sagellm_orbit/plugin.py").read_text()
    assert 'vendor="Example Inc."' in plugin
    assert "DeviceClass.CPU" in plugin
    assert "sagellm_torch" not in plugin


def test_the_vendor_is_the_name_where_none_is_given(new: Callable[..., Any]) -> None:
    assert new("orbit-2").returncode == 0
    plugin = Path("sagellm-orbit-2/sagellm_orbit_2/plugin.py").read_text()
    assert 'vendor="Orbit2"' in plugin


def test_json(new: Callable[..., Any]) -> None:
    told = json.loads(new("orbit", "--json").stdout)
    assert told["dist"] == "sagellm-orbit"
    assert told["directory"] == str(Path("sagellm-orbit").absolute())
    assert all((Path("sagellm-orbit") / path).is_file() for path in told["files"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("auto", "reserved"),
        ("mock", "reserved"),
        ("Orbit", "Did you mean 'orbit'?"),
        ("or/bit", "Did you mean 'or-bit'?"),
        ("sagellm-orbit", "Leave it out: 'orbit'."),
    ],
)
def test_a_bad_name_is_one_readable_error(new: Callable[..., Any], name: str, said: str) -> None:
    done = new(name)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(Path().iterdir()) == []


def test_a_taken_name_is_refused_without_importing_who_has_it(
    new: Callable[..., Any], plugin_site: Any
) -> None:
    plugin_site.add("orbit", head="raise SystemExit('imported')", dist="orbit-for-sagellm")
    done = new("orbit", path=plugin_site.path)
    assert done.returncode == 1
    assert "taken by orbit-for-sagellm 1.0" in done.stderr
    assert list(Path().iterdir()) == []


def test_a_name_is_taken_by_a_plugin_that_is_switched_off_too(
    new: Callable[..., Any], plugin_site: Any
) -> None:
    plugin_site.add("orbit")
    done = new("orbit", path=plugin_site.path, env={"SAGELLM_DISABLE_PLUGINS": "orbit"})
    assert done.returncode == 1
    assert "taken" in done.stderr


def test_a_second_time_nothing_is_written_over(new: Callable[..., Any]) -> None:
    assert new("orbit").returncode == 0
    mine = Path("sagellm-orbit/README.md")
    mine.write_text("mine")
    done = new("orbit", "--kit", "none", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "invalid_configuration"
    assert "README.md" in done.stderr
    assert mine.read_text() == "mine"
    assert not Path("sagellm-orbit/sagellm_orbit/runner.py").exists()


def test_into_the_directory_one_stands_in(new: Callable[..., Any]) -> None:
    done = new("orbit", "--directory", ".")
    assert done.returncode == 0
    assert Path("sagellm_orbit/plugin.py").is_file()
    assert "cd " not in done.stderr


def test_an_unknown_kit_is_wrong_usage(new: Callable[..., Any]) -> None:
    done = new("orbit", "--kit", "jax")
    assert done.returncode == 2
    assert "torch" in done.stderr
