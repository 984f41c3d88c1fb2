"""``sagellm config``."""

from __future__ import annotations

import click

from .group import LazyGroup


@click.group(
    cls=LazyGroup,
    table={
        "show": ("config_show", "Each setting, and where its value comes from."),
        "validate": ("config_validate", "Check configuration files."),
        "schema": ("config_schema", "Print the JSON Schema, for editors."),
        "auto": ("config_auto", "Write what is detected into a config.yaml."),
    },
)
def command() -> None:
    """Show, check or write the configuration.

    Arguments win over SAGELLM_* variables, which win over the file, which wins over defaults.
    """
