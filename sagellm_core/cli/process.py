"""The outermost level: from ``sys.argv`` to an exit code, whatever happens in between."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING

from . import exit_codes
from .interrupts import Interrupts

if TYPE_CHECKING:
    import click


def run(
    command: click.Command | None = None, name: str = "sagellm", words: Sequence[str] | None = None
) -> int:
    """Run a command; returns its exit code.

    :param command: ``None`` for the root of ``sagellm``.
    :param name: how the command is called in helps and errors.
    :param words: what follows the name; ``None`` for the words of ``sys.argv``.
    """
    interrupts = Interrupts()
    try:
        interrupts.install()
        code = _run(interrupts, command, name, sys.argv[1:] if words is None else list(words))
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        interrupts.exit()
    except BrokenPipeError:
        # `sagellm ... | head`: what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        interrupts.exit(exit_codes.BROKEN_PIPE)
    except BaseException:
        if interrupts.pending:
            interrupts.exit()
        raise
    interrupts.expect_exit()
    return code


def _run(interrupts: Interrupts, command: click.Command | None, name: str, words: list[str]) -> int:
    import click

    from .state import State

    _tolerate_narrow_output()
    if command is None:
        from .app import app

        command = app
        completing = os.environ.get("_SAGELLM_COMPLETE")
        if completing:
            from click.shell_completion import shell_complete

            return shell_complete(app, {}, "sagellm", "_SAGELLM_COMPLETE", completing)
    state = State(interrupts)
    color = False if os.environ.get("NO_COLOR") else None
    try:
        with command.make_context(name, list(words), obj=state, color=color) as context:
            result = command.invoke(context)
            return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        from .report import report_usage

        # The parser stops at the first mistake, which may stand before --json.
        report_usage(error, json=state.json or "--json" in words, color=color)
        return error.exit_code
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:
        if interrupts.pending:  # Ctrl-C that came out as something else
            raise KeyboardInterrupt from error
        from .report import report_error

        code = report_error(error, state, color=color)
        if state.abandoned:
            interrupts.exit(code)
        return code


def _tolerate_narrow_output() -> None:
    """Show what an encoding lacks as something else instead of failing.

    On a terminal that is not UTF-8 it is '?'. In UTF-8 only the bytes of paths that are not UTF-8
    are lacking: they are shown as JSON says them, as in ``\\udcff``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            is_utf8 = stream.encoding.lower() in ("utf-8", "utf8")
            stream.reconfigure(errors="backslashreplace" if is_utf8 else "replace")
