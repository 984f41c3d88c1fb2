"""``sagellm models download``."""

from __future__ import annotations

import click

from .progress import ProgressBar
from .report import print_json
from .state import State, json_option
from .suggestions import suggest_registered


@click.command()
@click.argument("model_id", metavar="ID", shell_complete=suggest_registered)
@click.option("--revision", help="A branch, tag or commit. Default: the default branch.")
@click.option("--tag", "tags", multiple=True, help="A word to remember with it. May be repeated.")
@click.option("--force", is_flag=True, help="Fetch everything again.")
@json_option
@click.pass_obj
def command(
    state: State, model_id: str, revision: str | None, tags: tuple[str, ...], force: bool
) -> None:
    """Fetch the model ID from the hub and register it.

    ID is ORG/NAME, ORG/NAME@REVISION, or ORG/NAME:FILE.gguf for one of several GGUF files. What
    an interrupted download brought is used.
    """
    from sagellm_core.models import download_model

    with ProgressBar() as bar:
        model = download_model(model_id, revision, tags=tags, force=force, progress=bar)
    if state.json:
        print_json(model.to_dict())
    else:
        click.echo(f"{model.model_id} -> {model.path} ({model.size_mb:,.1f} MiB)")
