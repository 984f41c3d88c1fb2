"""``sagellm plugins``."""

from __future__ import annotations

import click

from .group import LazyGroup


@click.group(
    cls=LazyGroup,
    table={
        "list": ("plugins_list", "What is installed; imports none of it."),
        "why": ("plugins_why", "What auto would pick, and why not the others."),
    },
)
def command() -> None:
    """List the providers, or explain which one is chosen."""
