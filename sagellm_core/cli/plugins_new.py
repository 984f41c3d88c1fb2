"""``sagellm plugins new``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from .report import print_json
from .state import State, debug_option, json_option
from .suggestions import suggest_file

#: As in ``sagellm_core.scaffold`` and the contract, whose import ``--help`` does not need.
_KITS = ("torch", "none")
_DEVICE_CLASSES = ("accelerator", "cpu", "simulated")

_STEPS = (
    "python -m venv .venv && . .venv/bin/activate",
    "pip install -e '.[test]'",
    "pytest",
    "grep -rn REPLACE {package}",
)


@click.command()
@click.argument("name")
@click.option(
    "--kit",
    type=click.Choice(_KITS),
    default="torch",
    show_default=True,
    help="What it is built on: the kit for torch devices, or nothing but the contract.",
)
@click.option("--vendor", metavar="TEXT", help="Who makes the device. [default: NAME]")
@click.option(
    "--device-class",
    type=click.Choice(_DEVICE_CLASSES),
    default="accelerator",
    show_default=True,
    help="What the device is. The plugin is simulated until it computes there.",
)
@click.option(
    "--directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    shell_complete=suggest_file,
    help="The repository. [default: sagellm-NAME]",
)
@json_option
@debug_option
@click.pass_obj
def command(
    state: State,
    name: str,
    kit: str,
    vendor: str | None,
    device_class: str,
    directory: Path | None,
) -> None:
    """Write a repository for the provider NAME that works as it is.

    It has the plugin, the conformance suite in one file, tox for the oldest and newest core,
    and a workflow for continuous integration. Nothing is downloaded, and nothing is written over.
    """
    from sagellm_core.contract import DeviceClass
    from sagellm_core.providers import Controls, discover
    from sagellm_core.scaffold import Repository, check_free, check_name, write_repository

    from .log import show_log

    show_log(state)
    checked = check_name(name)
    check_free(checked, discover(Controls()))
    repository = Repository(
        name=checked,
        vendor=checked.class_prefix if vendor is None else vendor,
        kit=kit,
        device_class=DeviceClass(device_class),
    )
    texts = repository.texts()
    place = directory or Path(checked.dist)
    write_repository(texts, place)
    if state.json:
        print_json(
            {
                "name": checked.backend,
                "dist": checked.dist,
                "package": checked.package,
                "directory": str(place.absolute()),
                "files": [str(path) for path in texts],
            }
        )
        return
    shown = shlex.quote(str(place))
    for path in texts:
        click.echo(f"{place / path}")
    click.echo(f"\nWrote {len(texts)} files. The provider works as it is, without your device.")
    if place.resolve() != Path.cwd():
        click.echo(f"  cd {shown}", err=True)
    for step in _STEPS:
        click.echo(f"  {step.format(package=checked.package)}", err=True)
    click.echo("README.md says what to replace, in which order.", err=True)
