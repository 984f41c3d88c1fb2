"""``sagellm plugins``."""

from __future__ import annotations

import click

from .group import LazyGroup


@click.group(
    cls=LazyGroup,
    table={
        "list": ("plugins_list", "What is installed; imports none of it."),
        "why": ("plugins_why", "What auto would pick, and why not the others."),
        "new": ("plugins_new", "Write a repository for a provider of your own."),
    },
)
def command() -> None:
    """List the providers, explain which one is chosen, or write one."""
