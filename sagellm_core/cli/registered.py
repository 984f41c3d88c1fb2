"""What the commands about one registered model share: the argument and the error."""

from __future__ import annotations

from typing import Any

import click

from sagellm_core.contract.errors import ModelNotFoundError

from .suggestions import suggest_registered


def registered_model_argument(command: Any) -> Any:
    """Add the argument NAME, completed from the registry."""
    return click.argument("name", shell_complete=suggest_registered)(command)


def not_registered(name: str) -> ModelNotFoundError:
    """The error for a name that the registry does not have."""
    import difflib

    from sagellm_core.models import list_models

    near = difflib.get_close_matches(name, [model.model_id for model in list_models()], n=1)
    return ModelNotFoundError(
        f"No model {name!r} is registered.",
        hint=f"Did you mean {near[0]!r}?" if near else "See: sagellm models list",
    )
