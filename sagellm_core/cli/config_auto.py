"""``sagellm config auto``, which is ``sage llm config auto`` too."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .installed import controls_of
from .removed import RemovedError, refuse_vllm, say_removed
from .state import State
from .suggestions import suggest_file, suggest_reference

if TYPE_CHECKING:
    from sagellm_core.config.detection import Detected

_SECTION = "generator.sagellm"


def _prefer(context: click.Context, _: click.Parameter, value: str) -> None:
    refuse_vllm("--prefer", value, context)
    if value.lower() == "ollama":
        raise RemovedError(
            "sagellm computes in this process and has no Ollama provider: there is nothing of "
            "Ollama to write here.",
            f"For models of this machine type: {context.command_path} --prefer sagellm. To go on "
            "with an Ollama server, keep SAGE's OpenAIGenerator with base_url "
            "http://localhost:11434/v1.",
        )
    if value.lower() != "sagellm":
        raise click.UsageError(f"--prefer {value} is not known. Type: --prefer sagellm", context)


def _auth_token(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise RemovedError(
            "--auth-token was for asking a server for its models. sagellm computes in this "
            "process and needs no token.",
            "Leave it out. For gated models of Hugging Face set HF_TOKEN.",
        )


def _section(_: click.Context, __: click.Parameter, value: str) -> str:
    # SAGE's command took the name below `generator`.
    name = value if "." in value else f"generator.{value}"
    if name == "generator.vllm":
        say_removed(f"The section {name}", "Leave --section out: it is generator.sagellm.")
    return name


@click.command()
@click.option(
    "-c",
    "--config-path",
    metavar="FILE",
    shell_complete=suggest_file,
    help="The file. [default: $SAGELLM_CONFIG, ./config.yaml, ./config/config.yaml or "
    "~/.config/sage/config.yaml, the first that is there; else a new ./config.yaml]",
)
@click.option(
    "--prefer",
    metavar="sagellm",
    default="sagellm",
    expose_value=False,
    callback=_prefer,
    help="As in SAGE; sagellm is all there is.",
)
@click.option(
    "-m",
    "--model-name",
    metavar="REFERENCE",
    shell_complete=suggest_reference,
    help="The model. [default: the registered one that was used last]",
)
@click.option(
    "-s",
    "--section",
    metavar="NAME",
    default=_SECTION,
    show_default=True,
    callback=_section,
    help="The section, keys with dots between them; a bare name lies below generator.",
)
@click.option(
    "-t",
    "--auth-token",
    metavar="TOKEN",
    hidden=True,
    expose_value=False,
    callback=_auth_token,
)
@click.option("-y", "--yes", is_flag=True, help="Write without asking.")
@click.option("--backup/--no-backup", default=True, help="Keep the old file beside the new one.")
@click.pass_context
def command(
    context: click.Context,
    config_path: str | None,
    model_name: str | None,
    section: str,
    yes: bool,
    backup: bool,
) -> None:
    """Write what is detected into a config.yaml.

    The providers that are installed are asked what they can run, and generator.sagellm gets
    backend_type, model_path and max_tokens (unless it has one). Nothing else in the file
    changes, comments included. The difference is shown first.
    """
    from sagellm_core.config.automatic import plan
    from sagellm_core.config.detection import detect

    from .log import show_log

    state = context.find_object(State) or State()
    show_log(state)
    # The file first: what is wrong there should not wait for the probes.
    change = plan(config_path, section)
    found = detect(controls_of(state), model_name)
    change.work_out(backend=found.backend, model=found.model, max_tokens=found.max_tokens)
    _tell(found)
    if not change.needed:
        click.echo(f"{change.path}: nothing to change.")
        _tell_problems(change.problems())
        return
    for line in change.difference():
        click.echo(click.style(line, fg={"+": "green", "-": "red"}.get(line[:1])))
    _tell_problems(change.problems())
    if not yes and not _asking_is_possible():
        raise click.UsageError(
            "Nothing was written: there is no terminal to ask on. "
            f"Type: {context.command_path} --yes",
            context,
        )
    if not yes and not click.confirm(f"Write this to {change.path}?", err=True):
        click.echo("Nothing was written.", err=True)
        return
    kept = change.write(backup=backup)
    if kept is not None:
        click.echo(f"The old file is kept as {kept}.", err=True)
    click.echo(f"{change.path}: written.")


def _asking_is_possible() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _tell(found: Detected) -> None:
    click.echo(f"backend: {found.backend}. {found.why}", err=True)
    click.echo(f"model: {found.model}", err=True)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def _tell_problems(problems: list[str]) -> None:
    for problem in problems:
        mark = click.style("warning: ", fg="yellow", bold=True)
        click.echo(mark + problem, err=True)
