"""``sagellm config show``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from .report import print_json
from .section_option import section_option, strange_variables, tell_strange_variables
from .state import State, json_option
from .suggestions import suggest_file
from .table import print_table

if TYPE_CHECKING:
    from pathlib import Path

    from sagellm_core.config import Origin


@click.command()
@click.option(
    "-c",
    "--config",
    metavar="FILE",
    shell_complete=suggest_file,
    help="The file. [default: $SAGELLM_CONFIG, else none]",
)
@section_option
@json_option
@click.pass_obj
def command(state: State, config: str | None, section: str) -> None:
    """Show each setting, and where its value comes from.

    It is what 'sagellm run' and SageLLMGenerator() find in this environment.
    """
    from sagellm_core.config import find_config_file, read_config_file, resolve
    from sagellm_core.config.environment import CONTROLS
    from sagellm_core.config.whereabouts import named_config_file

    arguments = {"disable_plugins": state.disabled} if state.disabled else {}
    path = config if config is not None else named_config_file()
    chosen = None if path is None else read_config_file(path, section)
    resolved = resolve((), arguments, section=chosen)
    values = {name: _plain(getattr(resolved.config, name)) for name in resolved.origins}
    controls = {name: os.environ[name] for name in CONTROLS if os.environ.get(name, "").strip()}
    strange = strange_variables()
    if state.json:
        print_json(
            {
                "file": None if path is None else str(path),
                "section": None if path is None else section,
                "values": {
                    name: {"value": values[name], "from": origin.kind, "where": origin.where}
                    for name, origin in resolved.origins.items()
                },
                "controls": controls,
                "unknown_variables": [{"name": name, "nearest": near} for name, near in strange],
            }
        )
        return
    import json

    print_table(
        ("KEY", "FROM", "VALUE"),
        [
            (name, _shown(origin), json.dumps(values[name], ensure_ascii=False))
            for name, origin in resolved.origins.items()
        ],
    )
    if controls:
        click.echo()
        print_table(
            ("VARIABLE", "VALUE", ""),
            [(name, value, CONTROLS[name]) for name, value in controls.items()],
        )
    tell_strange_variables(strange)
    _tell_file_not_read(path, find_config_file())


def _plain(value: Any) -> Any:
    """A value as JSON can show it; YAML knows dates, bytes and sets as well."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)


def _shown(origin: Origin) -> str:
    return origin.where or origin.kind


def _tell_file_not_read(path: str | Path | None, found: Path | None) -> None:
    if path is None and found is not None:
        click.echo(
            f"{found} is here and was not read; name it with --config or $SAGELLM_CONFIG. "
            "(SageLLMGenerator.from_config() reads it.)",
            err=True,
        )
