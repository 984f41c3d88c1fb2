"""``sagellm models path``."""

from __future__ import annotations

import os

import click

from .registered import registered_model, registered_model_argument
from .report import print_json
from .state import State, json_option


@click.command()
@registered_model_argument
@json_option
@click.pass_obj
def command(state: State, name: str) -> None:
    """Print where the registered model NAME lies."""
    from sagellm_core.models import ModelNotFoundError

    model = registered_model(name)
    if model.state != "ready":
        what = "is gone." if model.state == "missing" else f"is incomplete: {model.problem}"
        raise ModelNotFoundError(
            f"The model {name!r} is registered, but {model.path} {what}",
            hint=f"Put it back, download it again, or run: sagellm models rm {model.model_id}",
        )
    if state.json:
        print_json({"model_id": model.model_id, "path": str(model.path)})
    else:
        click.echo(os.fsencode(model.path))  # its very bytes, which need not be UTF-8
