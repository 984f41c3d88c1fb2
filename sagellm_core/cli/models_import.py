"""``sagellm models import``."""

from __future__ import annotations

import click

from .report import print_json
from .state import State, json_option
from .suggestions import suggest_file
from .table import print_table


@click.command()
@click.argument("source", metavar="[ROOT]", required=False, shell_complete=suggest_file)
@json_option
@click.pass_obj
def command(state: State, source: str | None) -> None:
    """Register the models of another registry where they lie. Nothing is copied.

    ROOT is the directory of its metadata.json. Without it: those of SAGE, $SAGE_LLM_MODEL_ROOT or
    ~/.sage/models/vllm, and $XDG_DATA_HOME/sage/models/sagellm.
    """
    from sagellm_core.models import import_models

    found = import_models(source)
    if state.json:
        print_json([each.to_dict() for each in found])
    elif found:
        print_table(
            ("ID", "OUTCOME", "WHY, OR WHERE"),
            [(each.model_id, each.outcome, each.reason or str(each.path)) for each in found],
        )
    else:
        click.echo("There are no models to import.", err=True)
