"""``sagellm version``."""

from __future__ import annotations

import platform

import click

from sagellm_core import __version__
from sagellm_core.contract.version import CONTRACT_VERSION

from .report import print_json
from .state import State, json_option


@click.command()
@json_option
@click.pass_obj
def command(state: State) -> None:
    """Show the versions of sagellm-core, its plugin contract and Python."""
    versions = {
        "sagellm_core": __version__,
        "contract": CONTRACT_VERSION,
        "python": platform.python_version(),
    }
    if state.json:
        print_json(versions)
    else:
        click.echo(
            f"sagellm-core {__version__}, contract {CONTRACT_VERSION}, Python {versions['python']}"
        )
