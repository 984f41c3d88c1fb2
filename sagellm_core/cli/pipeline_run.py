"""``sagellm pipeline run``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from .state import State, debug_option
from .suggestions import suggest_file


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("file", type=click.Path(path_type=Path), shell_complete=suggest_file)
@click.argument("words", nargs=-1, metavar="[QUESTION]...")
@debug_option
@click.pass_obj
def command(state: State, file: Path, words: tuple[str, ...]) -> int:
    """Run the pipeline in FILE, which create-embedding wrote: a .py or a .yaml.

    Each QUESTION is answered; without one, each line of standard input is. --json prints each
    result as JSON.
    """
    if file.suffix.lower() == ".py":
        return _run_program(file, words)
    from .log import show_log

    state.json |= "--json" in words
    show_log(state)
    _show_progress()
    from sagellm_core.pipeline.creation import program_module
    from sagellm_core.pipeline.settings import located, read_plan

    plan = read_plan(file)
    run = _runtime(plan.runtime)
    try:
        settings = located(plan.settings, file)
        return int(program_module(plan.kind).main(words, settings, run))
    except BaseException:
        state.abandoned = True
        raise


def _run_program(file: Path, words: tuple[str, ...]) -> int:
    """Run a Python program as ``python FILE`` does; its exit code is ours."""
    import subprocess

    from sagellm_core.contract.errors import ConfigurationError

    if not file.is_file():
        raise ConfigurationError(
            f"There is no file {file}.", hint="Write one with: sagellm pipeline create-embedding"
        )
    return subprocess.run([sys.executable, str(file), *words], check=False).returncode


def _runtime(name: str) -> Any:
    """The function that takes questions through the stages.

    :raises ConfigurationError: the runtime is not installed.
    """
    from sagellm_core.contract.errors import ConfigurationError
    from sagellm_core.pipeline.settings import RUNTIMES

    try:
        return import_module(RUNTIMES[name]).run
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The pipeline wants the runtime {name!r}, which is not installed ({error}).",
            hint="pip install sagellm-sage isage, or write 'runtime: plain' into the file.",
        ) from error


def _show_progress() -> None:
    """Say on stderr what the index does, as the written programs do."""
    import logging

    log = logging.getLogger("sagellm.pipeline")
    log.setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: record.levelno == logging.INFO)
    log.addHandler(handler)
