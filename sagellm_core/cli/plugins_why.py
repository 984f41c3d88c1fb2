"""``sagellm plugins why``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from . import exit_codes
from .installed import controls_of
from .report import print_error, print_json
from .state import State, json_option
from .suggestions import suggest_backend, suggest_reference
from .table import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sagellm_core.providers import Candidate


@click.command()
@click.option(
    "-m",
    "--model",
    metavar="REFERENCE",
    shell_complete=suggest_reference,
    help="The model to run. [default: $SAGELLM_MODEL]",
)
@click.option(
    "-b",
    "--backend",
    metavar="NAME",
    shell_complete=suggest_backend,
    help="Explain this choice instead of auto's.",
)
@click.option("--embed", is_flag=True, help="Explain the choice for embedding instead.")
@click.option("--allow-fallback", is_flag=True, help="As in: sagellm run --allow-fallback")
@json_option
@click.pass_obj
def command(
    state: State, model: str | None, backend: str | None, embed: bool, allow_fallback: bool
) -> int:
    """Show what auto would pick, and why not the others.

    Every plugin is asked in a process of its own; nothing is loaded or downloaded. The exit code
    is 1 if nothing could run.
    """
    from sagellm_core.contract import Capability
    from sagellm_core.providers import explain

    from .log import show_log

    show_log(state)
    reference = model or os.environ.get("SAGELLM_MODEL") or None
    explanation = explain(
        reference,
        controls_of(state, backend, allow_fallback=allow_fallback),
        capability=Capability.EMBED if embed else Capability.GENERATE,
    )
    failed = explanation.error is not None
    if state.json:
        print_json(explanation.to_dict())
        return exit_codes.ERROR if failed else exit_codes.OK
    print_table(
        ("", "RANK", "PROVIDER", "DEVICE", "DISTRIBUTION", "REASON"),
        [_row(each, each[0] == explanation.chosen) for each in _grouped(explanation.candidates)],
    )
    shown = {each.rejection.message for each in explanation.candidates if each.rejection}
    for warning in explanation.warnings:
        if warning not in shown:
            click.echo(click.style("warning: ", fg="yellow", bold=True) + warning, err=True)
    if explanation.error is not None:
        print_error(explanation.error.message, explanation.error.hint)
        return exit_codes.ERROR
    click.echo(f"\n{explanation.why}")
    if explanation.model_error is not None:
        # The choice stands, but it was made without knowing the model.
        click.echo(f"{explanation.model_error.message} {explanation.model_error.hint}", err=True)
    return exit_codes.OK


def _grouped(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """What has a row: a candidate each, but those that claim one name have one together."""
    groups: list[list[Candidate]] = []
    taken: dict[str, list[Candidate]] = {}
    for each in candidates:
        if each.rejection is not None and each.rejection.code == "duplicate":
            if each.entry.name in taken:
                taken[each.entry.name].append(each)
                continue
            taken[each.entry.name] = group = [each]
        else:
            group = [each]
        groups.append(group)
    return groups


def _row(group: Sequence[Candidate], chosen: bool) -> tuple[str, ...]:
    candidate = group[0]
    rejection = candidate.rejection
    if rejection is not None:
        reason = f"{rejection.message} {rejection.hint}".rstrip()
    else:
        reason = "chosen" if chosen else candidate.note
    return (
        click.style("*", fg="green", bold=True) if chosen else " ",
        str(candidate.rank or "-"),
        candidate.entry.name,
        candidate.device.id if candidate.device else "-",
        ", ".join(dict.fromkeys(f"{each.entry.dist} {each.entry.version}" for each in group)),
        " ".join(reason.split()),
    )
