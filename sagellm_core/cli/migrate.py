"""``sagellm migrate``."""

from __future__ import annotations

import difflib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import exit_codes
from .report import print_error, print_json
from .state import State, debug_option, json_option

if TYPE_CHECKING:
    from sagellm_core.migrate import FilePlan


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--write", is_flag=True, help="Change the files.")
@click.option("--check", is_flag=True, help="Print no diff; exit with 1 if a file would change.")
@click.option(
    "-m", "--model", default="", metavar="ID", help="The model for generators that named a service."
)
@click.option(
    "--embedding-model", default="", metavar="ID", help="The model for embeddings that did."
)
@click.option(
    "--backend",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="The backend_type to write.",
)
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Files not to look at. May be repeated."
)
@click.option(
    "--vllm-scripts/--no-vllm-scripts",
    default=True,
    show_default=True,
    help="Move scripts of vLLM's own LLM class to sagellm_core.compat.vllm.",
)
@json_option
@debug_option
@click.pass_obj
def command(
    state: State,
    paths: tuple[str, ...],
    write: bool,
    check: bool,
    model: str,
    embedding_model: str,
    backend: str,
    exclude: tuple[str, ...],
    vllm_scripts: bool,
) -> None:
    """Show, and with --write make, the changes from vLLM to sagellm in files below PATH.

    Nothing is written without --write. What is not understood is not touched, but listed.
    """
    if write and check:
        raise click.UsageError("--write and --check exclude each other.")
    from sagellm_core.migrate import Settings, plan_migration

    settings = Settings(
        model=model,
        embedding_model=embedding_model,
        backend=backend,
        vllm_scripts=vllm_scripts,
        exclude=exclude,
    )
    plans = plan_migration([Path(path) for path in paths], settings)
    failures = _write(plans) if write else {}
    if state.json:
        print_json(_as_data(plans, failures, write))
    else:
        if not write and not check:
            for plan in plans:
                _print_diff(plan)
        _print_findings(plans, write)
    for path, reason in failures.items():
        print_error(f"{path} was not written: {reason}.", "Make it writable, then migrate again.")
    if failures or (check and any(plan.changed for plan in plans)):
        raise click.exceptions.Exit(exit_codes.ERROR)


def _write(plans: Sequence[FilePlan]) -> dict[str, str]:
    from sagellm_core.migrate import write

    failures: dict[str, str] = {}
    for plan in plans:
        try:
            write(plan)
        except OSError as error:
            failures[str(plan.path)] = error.strerror or str(error)
    return failures


def _print_diff(plan: FilePlan) -> None:
    # newline="" splits at line ends alone, and not at every separator that Unicode knows.
    before, after = (list(io.StringIO(text, newline="")) for text in (plan.before, plan.after))
    for line in difflib.unified_diff(before, after, str(plan.path), str(plan.path)):
        body = line.rstrip("\r\n")
        if body.startswith(("---", "+++")):
            click.secho(body, bold=True)
        elif body.startswith("@@"):
            click.secho(body, fg="cyan")
        elif body.startswith("+"):
            click.secho(body, fg="green")
        elif body.startswith("-"):
            click.secho(body, fg="red")
        else:
            click.echo(body)
        if not line.endswith(("\n", "\r")):
            click.echo("\\ No newline at end of file")


def _print_findings(plans: Sequence[FilePlan], write: bool) -> None:
    for title, name in (("Left for you:", "left"), ("Changed; please check:", "check")):
        rows = [(plan.path, finding) for plan in plans for finding in getattr(plan, name)]
        if rows:
            click.secho(title, bold=True)
            for path, finding in rows:
                click.echo(f"  {path}:{finding.line}: {finding.text}")
    files = sum(plan.changed for plan in plans)
    changes = sum(len(plan.changes) for plan in plans if plan.changed)
    left = sum(len(plan.left) for plan in plans)
    if not files and not left:
        click.echo("Nothing to migrate.")
        return
    done = "changed" if write else "would change"
    click.echo(
        f"{_count(files, 'file')} {done}, {_count(changes, 'change')}, {left} left for you."
        + (" Nothing was written; --write does." if files and not write else "")
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _as_data(plans: Sequence[FilePlan], failures: dict[str, str], write: bool) -> dict[str, object]:
    return {
        "files": [
            {
                "path": str(plan.path),
                "changed": plan.changed,
                "written": write and plan.changed and str(plan.path) not in failures,
                "error": failures.get(str(plan.path)),
                **{
                    name: [
                        {"line": finding.line, "text": finding.text}
                        for finding in getattr(plan, name)
                    ]
                    for name in ("changes", "left", "check")
                },
            }
            for plan in plans
        ]
    }
