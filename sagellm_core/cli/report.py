"""How results and errors are printed."""

from __future__ import annotations

import errno
import os
from typing import Any

import click

from . import exit_codes
from .state import State

#: What writing to a full place ends in; /dev/full is one for tests.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def print_json(value: Any) -> None:
    """One JSON value on one line of stdout."""
    import json

    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def print_error(message: str, hint: str, *, color: bool | None = None) -> None:
    """What happened and what to do, on stderr; each line of the hint is one of its own."""
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True, color=color)
    for line in hint.splitlines():
        click.echo(click.style("hint: ", fg="cyan", bold=True) + line, err=True, color=color)


def report_usage(error: click.ClickException, *, json: bool, color: bool | None = None) -> None:
    """Print what is wrong with the words that were typed.

    The hint is the error's own (``hint``), else where the command's help is.
    """
    message = error.format_message()
    hint = getattr(error, "hint", "")
    context = getattr(error, "ctx", None)
    if not hint and context is not None:
        hint = f"Try '{context.command_path} --help' for help."
    if json:
        data = {"type": "UsageError", "code": "usage", "message": message, "hint": hint}
        print_json({"error": {**data, "retryable": False}})
    print_error(message, hint, color=color)


def report_error(error: Exception, state: State, *, color: bool | None = None) -> int:
    """Print an error that ended a command; returns the exit code."""
    from sagellm_core.contract.errors import RequestTimeoutError, SageLLMError

    full = _output_is_full(error)
    if isinstance(error, SageLLMError):
        message, hint, data = error.message, error.hint, error.to_dict()
    else:
        if full:
            message = f"The output could not be written: {full}."
            hint = "Make room, or send the output elsewhere."
        else:
            message = f"unexpected {type(error).__name__}: {error}"
            hint = "This is a defect. Run with --debug for the traceback to report."
            if state.debug:
                hint = ""
        data = {
            "type": type(error).__name__,
            "code": "internal",
            "message": message,
            "hint": hint,
            "retryable": False,
        }
    if state.json and not full:
        print_json({"error": data})
    if state.debug:
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    print_error(message, hint, color=color)
    return exit_codes.TIMEOUT if isinstance(error, RequestTimeoutError) else exit_codes.ERROR


def _output_is_full(error: Exception) -> str:
    """What the system says about output that it did not take; empty for any other error."""
    if isinstance(error, OSError) and error.filename is None and error.errno in _FULL:
        return os.strerror(error.errno)
    return ""
