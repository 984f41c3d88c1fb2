"""``sagellm plugins list``."""

from __future__ import annotations

import click

from .installed import installed_plugins
from .report import print_json
from .state import State, json_option
from .table import print_table


@click.command()
@json_option
@click.pass_obj
def command(state: State) -> None:
    """Show the installed plugins from their metadata; none is imported."""
    entries = installed_plugins(state)
    if state.json:
        print_json(
            [
                {
                    "name": entry.name,
                    "dist": entry.dist,
                    "version": entry.version,
                    "module": entry.module,
                    "status": entry.rejection.code if entry.rejection else "ok",
                    "rejection": entry.rejection
                    and {
                        "code": entry.rejection.code,
                        "message": entry.rejection.message,
                        "hint": entry.rejection.hint,
                    },
                }
                for entry in entries
            ]
        )
        return
    if not entries:
        click.echo("No plugins are installed.", err=True)
        click.echo("Each device has its own: pip install sagellm-NAME", err=True)
        return
    print_table(
        ("NAME", "DISTRIBUTION", "VERSION", "STATUS"),
        [
            (
                entry.name,
                entry.dist,
                entry.version,
                click.style(entry.rejection.code, fg="yellow")
                if entry.rejection
                else click.style("ok", fg="green"),
            )
            for entry in entries
        ],
    )
    # Two that claim one name are refused for one reason.
    reasons = [
        f"{each.rejection.message} {each.rejection.hint}" for each in entries if each.rejection
    ]
    for reason in dict.fromkeys(reasons):
        click.echo(f"\n{reason}".rstrip())
