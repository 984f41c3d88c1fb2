"""What the library logs, as a person at a command line wants to see it."""

from __future__ import annotations

import logging
import sys

import click

from .state import State


class LogLines(logging.Handler):
    """Each record as a line on stderr; a traceback only with ``--debug``.

    Without it :mod:`logging` writes bare sentences, and the traceback of everything that was
    logged with one, handled or not.
    """

    def __init__(self, state: State) -> None:
        super().__init__(logging.WARNING)
        self._state = state

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            if sys.stderr is not None and sys.stderr.isatty():
                click.echo("\r\x1b[K", err=True, nl=False)  # a progress bar may stand there
            mark = click.style(f"{record.levelname.lower()}: ", fg="yellow", bold=True)
            click.echo(mark + record.getMessage(), err=True)
            if self._state.debug and record.exc_info:
                trace = logging.Formatter().formatException(record.exc_info)
                click.echo(trace, err=True)
        except Exception:
            self.handleError(record)


def show_log(state: State) -> None:
    """Have warnings shown from here on.

    Not done for every command: those that only list have a budget of milliseconds.
    """
    log = logging.getLogger("sagellm")
    if not any(isinstance(handler, LogLines) for handler in log.handlers):
        log.addHandler(LogLines(state))
