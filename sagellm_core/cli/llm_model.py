"""``sagellm llm model``: the commands of ``sagellm models`` under the words that SAGE has."""

from __future__ import annotations

from typing import Any

import click

from .group import LazyGroup
from .removed import say_removed

#: Flags that SAGE's commands had and ours need not: nothing is asked for, and progress is shown
#: on terminals alone.
_NEEDLESS = {
    "delete": frozenset({"-y", "--yes"}),
    "download": frozenset({"--no-progress"}),
}


class _ModelGroup(LazyGroup):
    """Takes a model as an argument, and as ``--model`` too, as SAGE's commands did."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, *words = args
        if not ctx.resilient_parsing:
            words = _without_old_words(ctx, name, words)
        if name == "show" and not [word for word in words if not word.startswith("-")]:
            # SAGE's `show` named no model and listed them all.
            asks_for_help = {"-h", "--help"} & set(words)
            name = "show" if asks_for_help else "list"
        return super().resolve_command(ctx, [name, *words])


def _without_old_words(ctx: click.Context, name: str, words: list[str]) -> list[str]:
    """``words`` as the commands know them.

    :raises RemovedError: one that was removed; the message says what to type instead.
    :raises click.UsageError: an engine that is not there.
    """
    kept: list[str] = []
    left = iter(words)
    for word in left:
        option, equals, value = word.partition("=")
        if word == "--vllm":
            say_removed("--vllm", f"There is one registry now. Type: {ctx.command_path} {name}")
        elif option in ("-e", "--engine"):
            engine = value if equals else next(left, "")
            if engine.lower() == "vllm":
                say_removed(f"--engine {engine}", f"Type: {ctx.command_path} {name}")
            if engine != "sagellm":
                raise click.UsageError(f"There is no engine {engine!r}; there is sagellm.", ctx)
        elif option in ("-m", "--model"):
            model = value if equals else next(left, "")
            if not model:
                raise click.UsageError(f"{option} needs the name of a model.", ctx)
            kept.append(model)
        elif word == "-f" and name == "download":
            kept.append("--force")
        elif word not in _NEEDLESS.get(name, frozenset()):
            kept.append(word)
    return kept


@click.group(
    cls=_ModelGroup,
    table={
        "list": ("models_list", "Registered models, the one used last first."),
        "download": ("models_download", "Fetch a model from the hub and register it."),
        "show": ("models_show", "What is known about a model."),
        "delete": ("models_rm", "Forget a model; delete its files if the registry owns them."),
    },
)
@click.pass_obj
def command(state: Any) -> None:
    """List, download, show or delete models.

    A model may be given as --model NAME too. 'sagellm models' has more: add, import, path.
    """
    from .log import show_log

    show_log(state)
