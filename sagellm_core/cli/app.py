"""The root of the command line."""

from __future__ import annotations

import click

from sagellm_core import __version__

from .group import LazyGroup
from .state import debug_option, state_of

_EXIT_CODES = """\b
Exit codes:
  0    done
  1    an error of sagellm; doctor: something is wrong
  2    wrong usage
  124  the timeout passed
  130  Ctrl-C
  141  the reader of the output went away
"""


def _disabled(
    context: click.Context, _: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    names = []
    for value in values:
        before, colon, name = value.partition(":")
        if before != "no" or not colon or not name:
            raise click.BadParameter(
                f"{value!r} does not have the form no:NAME. "
                "(The prompt's -p comes after the command: sagellm run -p TEXT.)"
            )
        names.append(name)
    return tuple(names)


@click.group(
    cls=LazyGroup,
    table={
        "run": ("run", "Answer one prompt."),
        "chat": ("chat", "Talk with a model."),
        "plugins": ("plugins", "List the providers, explain which one is chosen, or write one."),
        "doctor": ("doctor", "Look for what is wrong with this installation."),
        "conformance": ("conformance", "Hold a plugin to the contract, for its makers."),
        "models": ("models", "Names for models on this machine."),
        "config": ("config", "Show, check or write the configuration."),
        "llm": ("llm", "The commands of 'sage llm'."),
        "pipeline": ("pipeline", "Create and run pipelines over your documents."),
        "migrate": ("migrate", "Change files from vLLM to sagellm."),
        "bench": ("bench", "Measure a model on this machine, in about a minute."),
        "version": ("version", "Show versions."),
        "completion": ("completion", "Print the completion script of a shell."),
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXIT_CODES,
)
@click.option(
    "-p",
    "disabled",
    multiple=True,
    metavar="no:NAME",
    callback=_disabled,
    help="Do not consider this plugin. May be repeated.",
)
@debug_option
@click.version_option(__version__, "--version", prog_name="sagellm", package_name="sagellm-core")
@click.pass_context
def app(context: click.Context, disabled: tuple[str, ...]) -> None:
    """One LLM generator for any accelerator."""
    state = state_of(context)
    state.disabled = disabled
    if disabled:
        # A misspelt name must not pass in silence, whatever the command; discovering says so.
        from .installed import installed_plugins

        installed_plugins(state)
