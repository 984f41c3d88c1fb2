"""``sagellm doctor``."""

from __future__ import annotations

import click

from . import exit_codes
from .installed import controls_of
from .report import print_json
from .state import State, debug_option, json_option
from .table import print_rows

_COLORS = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command()
@json_option
@debug_option
@click.pass_obj
def command(state: State) -> int:
    """Look for what is wrong with this installation.

    Every plugin is asked for its devices, each in a process of its own; no model is loaded.
    The exit code is 1 if anything is wrong, not counting warnings.
    """
    from .checkup import examine
    from .log import show_log

    show_log(state)
    lines = examine(controls_of(state))
    wrong = [line for line in lines if line.finding.severity == "error"]
    if state.json:
        print_json(
            {
                "ok": not wrong,
                "findings": [
                    {
                        "about": line.about,
                        "severity": str(line.finding.severity),
                        "message": line.finding.message,
                        "hint": line.finding.hint,
                        "detail": line.detail,
                    }
                    for line in lines
                ],
            }
        )
        return exit_codes.ERROR if wrong else exit_codes.OK
    rows = []
    for about, finding, _ in lines:
        severity = str(finding.severity)
        mark = click.style(severity, fg=_COLORS[severity], bold=severity == "error")
        rows.append((mark, about, finding.message))
        if finding.hint and severity != "ok":
            rows.append(("", "", finding.hint))
    print_rows(rows)
    if state.debug:
        for line in lines:
            if line.detail:
                click.echo(f"\n{click.style(line.about, bold=True)}\n{line.detail}")
    return exit_codes.ERROR if wrong else exit_codes.OK
