"""What the commands about one registered model share: the argument, the look-up, the error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .suggestions import suggest_registered

if TYPE_CHECKING:
    from sagellm_core.models import ModelInfo, ModelNotFoundError

_SOURCES = {"vllm": "vllm (SAGE)", "isage": "isage"}


def registered_model_argument(command: Any) -> Any:
    """Add the argument NAME, completed from the registry."""
    return click.argument("name", shell_complete=suggest_registered)(command)


def registered_model(name: str) -> ModelInfo:
    """The model that ``name`` stands for in any of the registries.

    :raises ModelNotFoundError: it is in none.
    """
    from sagellm_core.models import find_model

    model = find_model(name)
    if model is None:
        raise not_registered(name)
    return model


def not_registered(name: str) -> ModelNotFoundError:
    """The error for a name that the registry does not have."""
    import difflib

    from sagellm_core.models import ModelNotFoundError, list_models

    near = difflib.get_close_matches(name, [model.model_id for model in list_models()], n=1)
    return ModelNotFoundError(
        f"No model {name!r} is registered.",
        hint=f"Did you mean {near[0]!r}?" if near else "See: sagellm models list",
    )


def source_of(model: ModelInfo) -> str:
    """Which registry a model is from, in a word or two."""
    return _SOURCES.get(model.origin, "sagellm")
