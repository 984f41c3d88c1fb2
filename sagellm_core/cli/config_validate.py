"""``sagellm config validate``."""

from __future__ import annotations

import click

from . import exit_codes
from .report import print_json
from .section_option import section_option, strange_variables, tell_strange_variables
from .state import State, json_option
from .suggestions import suggest_file


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=suggest_file)
@section_option
@json_option
@click.pass_obj
def command(state: State, files: tuple[str, ...], section: str) -> int:
    """Check configuration files: all that is wrong, as FILE:LINE:COLUMN: message.

    The exit code is 1 if anything is wrong in one of them.
    """
    from sagellm_core.config import validate_file

    found = {file: validate_file(file, section) for file in files}
    strange = strange_variables()
    wrong = any(found.values())
    if state.json:
        print_json(
            {
                "ok": not wrong,
                "problems": [each.to_dict() for problems in found.values() for each in problems],
                "unknown_variables": [{"name": name, "nearest": near} for name, near in strange],
            }
        )
        return exit_codes.ERROR if wrong else exit_codes.OK
    for file, problems in found.items():
        for problem in problems:
            mark = click.style("error: ", fg="red", bold=True)
            click.echo(f"{problem.where}: {mark}{problem.message}")
            if problem.hint:
                click.echo(f"    {problem.hint}")
        if not problems:
            click.echo(f"{file}: {section} is valid")
    tell_strange_variables(strange)
    return exit_codes.ERROR if wrong else exit_codes.OK
