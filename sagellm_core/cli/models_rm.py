"""``sagellm models rm``."""

from __future__ import annotations

import click

from .registered import not_registered, registered_model_argument
from .report import print_json
from .state import State, json_option


@click.command()
@registered_model_argument
@json_option
@click.pass_obj
def command(state: State, name: str) -> None:
    """Forget the model NAME. Its files are deleted only if they lie under the registry."""
    from sagellm_core.models import delete_model, model_root
    from sagellm_core.models.registry import list_models

    # Exactly this entry: what is looked up may be another revision, and is not deleted for it.
    here = {model.model_id: model for model in list_models(model_root())}
    model = here.get(name)
    if not delete_model(name):
        raise not_registered(name)
    kept = model is not None and model.path.exists()
    if state.json:
        print_json({"model_id": name, "files_deleted": not kept})
    elif kept and model is not None:
        click.echo(f"Forgot {name}; its files stay in {model.path}")
    else:
        click.echo(f"Removed {name}")
