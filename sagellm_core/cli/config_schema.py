"""``sagellm config schema``."""

from __future__ import annotations

import click

from .section_option import section_option


@click.command()
@section_option
def command(section: str) -> None:
    """Print the JSON Schema of a config.yaml with the section in it.

    An editor that knows it completes keys, shows what they mean, and marks errors; see
    docs/config.md.
    """
    from sagellm_core.config.json_schema import json_schema_text

    click.echo(json_schema_text(section), nl=False)
