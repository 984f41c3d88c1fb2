"""What the fast commands import, and what that costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_HEAVY = {"torch", "transformers", "pydantic", "pluggy", "numpy", "yaml", "rich", "dataclasses"}
_LOADED = """\
import json, sys
from sagellm_core.cli import main
try:
    main()
finally:
    sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def six_plugins(plugin_site: Any) -> Any:
    for number in range(6):
        plugin_site.add(f"six{number}", head="raise SystemExit('imported')")
    return plugin_site


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("plugins", "list"),
        ("plugins", "list", "--json"),
        ("version",),
        ("--version",),
        ("run", "--help"),
        ("-p", "no:six1", "plugins", "list"),
    ],
)
def test_fast_commands_import_no_vendor_module_and_nothing_heavy(
    six_plugins: Any, cli_env: dict[str, str], arguments: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *arguments],
        env={**cli_env, "PYTHONPATH": str(six_plugins.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stderr))
    assert loaded.isdisjoint(_HEAVY)
    assert not [
        name for name in loaded if name.startswith(("fake_", "sagellm_mock", "sagellm_cpu"))
    ]


def test_help_imports_no_command(cli_env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, "--help"],
        env=cli_env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(json.loads(done.stderr))
    for name in ("run", "chat", "doctor", "plugins_list", "generation"):
        assert f"sagellm_core.cli.{name}" not in loaded
    assert re.search(r"^  run +Answer one prompt\.$", done.stdout, re.MULTILINE)


def test_the_table_of_helps_names_commands_that_exist() -> None:
    import click

    from sagellm_core.cli.app import app
    from sagellm_core.cli.group import LazyGroup

    pending: list[LazyGroup] = [app]
    while pending:
        group = pending.pop()
        context = click.Context(group)
        for name, (_, short) in group.table.items():
            command = group.get_command(context, name)
            assert command is not None
            assert command.help
            assert short.endswith(".")
            if isinstance(command, LazyGroup):
                pending.append(command)


def test_listing_and_help_stay_within_their_budget(
    six_plugins: Any, cli_env: dict[str, str]
) -> None:
    """150 ms over bare Python; the best of some runs, so that a busy machine does not fail it."""
    env = {**cli_env, "PYTHONPATH": str(six_plugins.path)}

    def seconds(*arguments: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], env=env, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    best = {"bare": 9.0, "help": 9.0, "list": 9.0}
    for _ in range(8):
        best["bare"] = min(best["bare"], seconds("-c", "pass"))
        best["help"] = min(best["help"], seconds("-m", "sagellm_core.cli", "--help"))
        best["list"] = min(best["list"], seconds("-m", "sagellm_core.cli", "plugins", "list"))
    assert best["help"] - best["bare"] < 0.15
    assert best["list"] - best["bare"] < 0.15


def test_version_says_what_it_is(sagellm: Callable[..., Any]) -> None:
    from sagellm_core import __version__

    assert json.loads(sagellm("version", "--json").stdout)["sagellm_core"] == __version__
    assert __version__ in sagellm("version").stdout
    assert __version__ in sagellm("--version").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(sagellm: Callable[..., Any], shell: str) -> None:
    done = sagellm("completion", shell)
    assert done.returncode == 0
    assert "_SAGELLM_COMPLETE" in done.stdout


def test_completion_knows_commands_and_backends(
    sagellm: Callable[..., Any], plugin_site: Any
) -> None:
    plugin_site.add("wondergpu")

    def completed(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        env = {"_SAGELLM_COMPLETE": "bash_complete", **words}
        return sagellm(env=env, path=plugin_site.path).stdout.split()

    assert "plain,doctor" in completed("sagellm do")
    assert "plain,why" in completed("sagellm plugins w")
    assert "plain,--temperature" in completed("sagellm run --temp")
    assert completed("sagellm run --backend wond") == ["plain,wondergpu"]
    assert completed("sagellm plugins why --backend wond") == ["plain,wondergpu"]
    assert completed("sagellm run --prompt-format r") == ["plain,raw"]


def test_completion_of_a_model_offers_registered_names_else_files(
    sagellm: Callable[..., Any], tmp_path: Path
) -> None:
    root = tmp_path / "registry"
    root.mkdir()

    def completed(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        env = {"_SAGELLM_COMPLETE": "bash_complete", "SAGE_SAGELLM_MODEL_ROOT": str(root), **words}
        done = sagellm(env=env)
        assert done.stderr == ""
        return done.stdout.split()

    assert completed("sagellm models add mine ./") == ["file,./"]
    (root / "metadata.json").write_text(json.dumps({"small": {"path": "/nowhere"}}))
    assert completed("sagellm run -m sm") == ["plain,small"]
    assert completed("sagellm models rm sm") == ["plain,small"]
    assert completed("sagellm plugins why -m ./mo") == ["file,./mo"]
    (root / "metadata.json").unlink()
    (root / "metadata.json").mkdir()  # unreadable, and no reason to garble the line with it
    assert completed("sagellm models rm sm") == []


def test_completion_is_quiet_about_wrong_controls(sagellm: Callable[..., Any]) -> None:
    words = {"COMP_WORDS": "sagellm run --backend a", "COMP_CWORD": "3"}
    done = sagellm(env={"_SAGELLM_COMPLETE": "bash_complete", "SAGELLM_PLUGINS": "nope", **words})
    assert (done.stdout, done.stderr) == ("plain,auto\n", "")


def test_docs_have_every_command_flag_and_exit_code() -> None:
    import click

    from sagellm_core.cli import exit_codes
    from sagellm_core.cli.app import app

    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    for name in app.table:
        assert f"`{name}" in page
    run = app.get_command(click.Context(app), "run")
    assert run is not None
    for parameter in run.params:
        for flag in parameter.opts:
            assert f"`{flag}" in page, flag
    for name in dir(exit_codes):
        if name.isupper():
            assert f"| {getattr(exit_codes, name)} |" in page
