"""``sagellm models path``."""

from __future__ import annotations

import click

from sagellm_core.contract.errors import ModelNotFoundError

from .registered import not_registered, registered_model_argument
from .report import print_json
from .state import State, json_option


@click.command()
@registered_model_argument
@json_option
@click.pass_obj
def command(state: State, name: str) -> None:
    """Print where the registered model NAME lies."""
    from sagellm_core.models import get_model_path
    from sagellm_core.models.registry import find_model

    path = get_model_path(name)
    if path is None:
        model = find_model(name)
        if model is None:
            raise not_registered(name)
        raise ModelNotFoundError(
            f"The model {name!r} is registered, but {model.path} is gone or empty.",
            hint=f"Put it back, or run: sagellm models rm {name}",
        )
    if state.json:
        print_json({"model_id": name, "path": str(path)})
    else:
        click.echo(str(path))
