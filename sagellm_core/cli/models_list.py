"""``sagellm models list``."""

from __future__ import annotations

import click

from .report import print_json
from .state import State, json_option
from .table import print_table


@click.command()
@json_option
@click.pass_obj
def command(state: State) -> None:
    """Show the registered models, the one used last first."""
    from sagellm_core.models import list_models, model_root

    models = list_models()
    if state.json:
        print_json([model.to_dict() for model in models])
    elif models:
        print_table(
            ("ID", "SIZE", "LAST USED", "PATH"),
            [
                (
                    model.model_id,
                    f"{model.size_mb:,.1f} MiB",
                    model.last_used_iso,
                    str(model.path) + ("" if model.path.exists() else "  (missing)"),
                )
                for model in models
            ],
        )
    else:
        click.echo(f"No models are registered in {model_root()}.", err=True)
        click.echo("Name one with: sagellm models add NAME PATH", err=True)
