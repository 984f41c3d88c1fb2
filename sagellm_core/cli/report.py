"""How results and errors are printed."""

from __future__ import annotations

from typing import Any

import click

from . import exit_codes
from .state import State


def print_json(value: Any) -> None:
    """One JSON value on one line of stdout."""
    import json

    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def print_error(message: str, hint: str, *, color: bool | None = None) -> None:
    """What happened and what to do, on stderr."""
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True, color=color)
    if hint:
        click.echo(click.style("hint: ", fg="cyan", bold=True) + hint, err=True, color=color)


def report_error(error: Exception, state: State, *, color: bool | None = None) -> int:
    """Print an error that ended a command; returns the exit code."""
    from sagellm_core.contract.errors import RequestTimeoutError, SageLLMError

    if isinstance(error, SageLLMError):
        message, hint, data = error.message, error.hint, error.to_dict()
    else:
        message = f"unexpected {type(error).__name__}: {error}"
        hint = (
            "" if state.debug else "This is a defect. Run with --debug for the traceback to report."
        )
        data = {
            "type": type(error).__name__,
            "code": "internal",
            "message": message,
            "hint": hint,
            "retryable": False,
        }
    if state.json:
        print_json({"error": data})
    if state.debug:
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    print_error(message, hint, color=color)
    return exit_codes.TIMEOUT if isinstance(error, RequestTimeoutError) else exit_codes.ERROR
