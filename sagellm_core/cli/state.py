"""What the options before and after a command's name say about the whole run."""

from __future__ import annotations

from typing import Any

import click

from .interrupts import Interrupts


class State:
    """Shared by the commands of one run, as click's context object.

    A plain class: importing dataclasses would cost the fast commands 25 ms.
    """

    __slots__ = ("abandoned", "debug", "disabled", "interrupts", "json")

    def __init__(self, interrupts: Interrupts | None = None) -> None:
        #: Show the traceback of an error.
        self.debug = False
        #: Results, and errors too, go to stdout as JSON.
        self.json = False
        #: Plugins switched off by ``-p no:NAME``.
        self.disabled: tuple[str, ...] = ()
        #: Whether an engine was left running: the process must not wait for its step.
        self.abandoned = False
        self.interrupts = interrupts or Interrupts()


def state_of(context: click.Context) -> State:
    """The state of the run that ``context`` belongs to."""
    state = context.ensure_object(State)
    assert isinstance(state, State)
    return state


def _set_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    state_of(context).json |= value


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    state_of(context).debug |= value


def json_option(command: Any) -> Any:
    """Add ``--json``."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_json,
        help="Print JSON, errors included.",
    )(command)


def debug_option(command: Any) -> Any:
    """Add ``--debug``."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_debug,
        help="Show the traceback of an error.",
    )(command)
