"""``sagellm models``."""

from __future__ import annotations

import click

from .group import LazyGroup
from .state import State


@click.group(
    cls=LazyGroup,
    table={
        "list": ("models_list", "Registered models, the one used last first."),
        "show": ("models_show", "What is known about a registered model."),
        "download": ("models_download", "Fetch a model from the hub and register it."),
        "add": ("models_add", "Give a model on disk a name; nothing is copied."),
        "import": ("models_import", "Register the models of SAGE's registries where they lie."),
        "rm": ("models_rm", "Forget a model; delete its files if the registry owns them."),
        "path": ("models_path", "Print where a registered model lies."),
    },
)
@click.pass_obj
def command(state: State) -> None:
    """Names for models on this machine.

    The registry lies in $SAGE_SAGELLM_MODEL_ROOT, or in ~/.sage/models/sagellm. Those of SAGE are
    read too.
    """
    from .log import show_log

    show_log(state)
