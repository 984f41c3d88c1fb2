"""``sagellm models add``."""

from __future__ import annotations

import click

from .report import print_json
from .state import State, json_option
from .suggestions import suggest_file


@click.command()
@click.argument("name")
@click.argument("path", shell_complete=suggest_file)
@click.option("--tag", "tags", multiple=True, help="A word to remember with it. May be repeated.")
@click.option("--force", is_flag=True, help="Replace a model of that name.")
@json_option
@click.pass_obj
def command(state: State, name: str, path: str, tags: tuple[str, ...], force: bool) -> None:
    """Register the model directory or GGUF file at PATH under NAME. Nothing is copied."""
    from sagellm_core.models import add_model

    model = add_model(name, path, tags=tags, replace=force)
    if state.json:
        print_json(model.to_dict())
    else:
        click.echo(f"{model.model_id} -> {model.path} ({model.size_mb:,.1f} MiB)")
