"""The configuration that a command works with: ``--config`` and ``$SAGELLM_CONFIG``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .suggestions import suggest_file

if TYPE_CHECKING:
    from sagellm_core.config import Resolved


def config_option(command: Any) -> Any:
    """Add ``--config``."""
    return click.option(
        "--config",
        metavar="FILE",
        shell_complete=suggest_file,
        help="A config.yaml with a section generator.sagellm. [default: $SAGELLM_CONFIG]",
    )(command)


def configuration(file: str | None, arguments: dict[str, Any]) -> Resolved:
    """Arguments over variables over the file, if one was named, over defaults.

    A ``config.yaml`` that merely lies in the directory is not read: the same command line must
    not mean something else in another directory.

    :raises ConfigurationError: something in one of them is wrong.
    """
    from sagellm_core.config import read_config_file, resolve
    from sagellm_core.config.whereabouts import named_config_file

    path = file if file is not None else named_config_file()
    section = None if path is None else read_config_file(path)
    return resolve((), arguments, section=section)
