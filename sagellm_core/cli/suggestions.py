"""What the shell offers when TAB is pressed in the middle of a command."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from .state import State


def suggest_backend(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Names of installed plugins."""
    from sagellm_core.contract.errors import SageLLMError

    from .installed import installed_plugins

    try:
        names = {entry.name for entry in installed_plugins(State())}
    except SageLLMError:  # the command itself will say it; here it would garble the line
        names = set()
    return sorted(name for name in names | {"auto"} if name.startswith(incomplete))


def suggest_registered(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Names of registered models."""
    from sagellm_core.contract.errors import SageLLMError
    from sagellm_core.models import list_models

    try:
        names = [model.model_id for model in list_models()]
    except SageLLMError:
        names = []
    return [name for name in names if name.startswith(incomplete)]


def suggest_reference(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of registered models, or files where no name begins like that."""
    names = suggest_registered(context, parameter, incomplete)
    if not names:
        return suggest_file(context, parameter, incomplete)
    return [CompletionItem(name) for name in names]


def suggest_file(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files and directories, which the shell finds itself."""
    return [CompletionItem(incomplete, type="file")]


def suggest_prompt_format(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The values of ``--prompt-format``."""
    return [name for name in ("auto", "chat", "raw") if name.startswith(incomplete)]
