"""What SAGE's commands had for vLLM: each answers with what to type instead, and exit code 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import click

from .group import LazyGroup


class RemovedError(click.ClickException):
    """Something that was removed was typed. The hint says what to type or do instead."""

    exit_code = 2

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def say_removed(what: str, instead: str) -> NoReturn:
    """End the command: ``what`` is gone, and ``instead`` is what to type or do.

    :raises RemovedError: always; its exit code is 2.
    """
    raise RemovedError(f"{what} was removed, with vLLM.", instead)


def removed_flag(name: str, instead: str) -> Callable[[Any], Any]:
    """Add the hidden flag ``name``, which only says what to type instead.

    :param instead: a sentence; ``{command}`` in it becomes the command as it was typed, as in
        ``sage pipeline create-embedding``.
    """

    def refuse(context: click.Context, _: click.Parameter, given: bool) -> None:
        if given:
            say_removed(name, instead.format(command=context.command_path))

    return click.option(
        name, is_flag=True, hidden=True, expose_value=False, is_eager=True, callback=refuse
    )


def refuse_vllm(option: str, value: str, context: click.Context) -> None:
    """Say what to type instead where ``value`` is vLLM; any other value passes.

    :param option: the option that it was given to, as in ``--engine``.
    """
    if value.lower() == "vllm":
        say_removed(f"{option} {value}", f"Type: {context.command_path} {option} sagellm")


class GroupWithRemoved(LazyGroup):
    """A group that remembers commands it had once.

    :param removed: name to what to type or do instead; ``{group}`` in it becomes the group as it
        was typed, as in ``sage llm``.
    """

    def __init__(self, *args: Any, removed: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.removed = dict(removed)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that ``args`` begin with; a removed one says what to type instead."""
        instead = self.removed.get(args[0])
        if instead is not None and not ctx.resilient_parsing:
            group = ctx.command_path
            say_removed(f"'{group} {args[0]}'", instead.format(group=group))
        return super().resolve_command(ctx, args)
