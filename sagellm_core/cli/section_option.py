"""``--section`` of the commands about configuration files."""

from __future__ import annotations

from typing import Any

import click


def section_option(command: Any) -> Any:
    """Add ``-s/--section``."""
    return click.option(
        "-s",
        "--section",
        metavar="NAME",
        default="generator.sagellm",
        show_default=True,
        help="The section, keys with dots between them.",
    )(command)


def strange_variables() -> list[tuple[str, str | None]]:
    """``SAGELLM_*`` variables that nothing reads, with what was probably meant."""
    import os

    from sagellm_core.config import unknown_variables
    from sagellm_core.providers import Controls, discover

    names = {entry.name for entry in discover(Controls())}
    return unknown_variables(os.environ, names)


def tell_strange_variables(found: list[tuple[str, str | None]]) -> None:
    """Say on stderr which variables have no effect."""
    mark = click.style("warning: ", fg="yellow", bold=True)
    for name, near in found:
        meant = f" Did you mean {near}?" if near else ""
        click.echo(f"{mark}The variable {name} is not known and has no effect.{meant}", err=True)
