"""``sagellm models list``."""

from __future__ import annotations

import click

from .registered import source_of
from .report import print_json
from .state import State, json_option
from .table import print_table, printable


@click.command()
@json_option
@click.pass_obj
def command(state: State) -> None:
    """Show the registered models, the one used last first.

    Those of SAGE's own registries are among them, and say so.
    """
    from sagellm_core.models import list_models, model_root
    from sagellm_core.models.staging import unfinished_downloads

    models = list_models()
    unfinished = unfinished_downloads(model_root())
    if state.json:
        print_json([{**model.to_dict(), "state": model.state} for model in models])
        return
    if models:
        print_table(
            ("ID", "SIZE", "LAST USED", "STATE", "FROM", "PATH"),
            [
                (
                    printable(model.model_id),
                    f"{model.size_mb:,.1f} MiB",
                    model.last_used_iso or "never",
                    model.state,
                    source_of(model),
                    printable(str(model.path)),
                )
                for model in models
            ],
        )
    else:
        click.echo(f"No models are registered in {model_root()}.", err=True)
        click.echo("Name one with: sagellm models add NAME PATH", err=True)
        click.echo("Or fetch one:  sagellm models download ORG/NAME", err=True)
    for each in unfinished:
        click.echo(
            f"Unfinished: {each.model_id}, {each.done / 2**20:,.1f} of "
            f"{each.total / 2**20:,.1f} MiB. Go on: sagellm models download {each.model_id}",
            err=True,
        )
