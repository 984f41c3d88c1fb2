"""``sage llm`` and ``sage pipeline``, for SAGE's entry point group ``sage.cli.plugins``.

SAGE calls :func:`register` at every start, whatever the command, and an error here would end
all of its commands: so this imports next to nothing, and what goes wrong is logged.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("sagellm.sage")

#: Command of ``sage`` to its help and to its module in ``sagellm_core.cli``.
_COMMANDS = {
    "llm": "Models and their configuration, with sagellm",
    "pipeline": "Create and run pipelines over your documents",
}

#: No word begins with it, so none is taken for an option of argparse: all are the command's.
_NO_PREFIX = "\0"


def register(subparsers: Any) -> None:
    """Add the commands to SAGE's.

    A command that is there already, from SAGE or from another plugin, stays as it is.

    :param subparsers: what ``argparse.ArgumentParser.add_subparsers`` gave. It calls the
        ``_handler`` of the chosen parser with the namespace, and exits with what it returns.
    """
    for name, text in _COMMANDS.items():
        try:
            if name in subparsers.choices:
                log.warning(
                    "'sage %s' is another plugin's; sagellm's is there as: sagellm %s", name, name
                )
                continue
            parser = subparsers.add_parser(name, help=text, add_help=False, prefix_chars=_NO_PREFIX)
            parser.add_argument("sagellm_words", nargs=argparse.REMAINDER)
            parser.set_defaults(_handler=_handler(name))
        except Exception as error:
            log.warning("'sage %s' could not be added: %s: %s", name, type(error).__name__, error)


def _handler(name: str) -> Callable[[argparse.Namespace], int]:
    def handle(arguments: argparse.Namespace) -> int:
        return run(name, arguments.sagellm_words)

    return handle


def run(name: str, words: list[str]) -> int:
    """Run ``sage NAME WORDS...``; returns the exit code, as ``docs/cli.md`` lists them.

    :param name: ``llm`` or ``pipeline``.
    """
    from importlib import import_module

    from sagellm_core.cli import process

    command = import_module(f"sagellm_core.cli.{name}").command
    return process.run(command, f"sage {name}", words)
