"""``sagellm llm status``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from . import exit_codes
from .installed import controls_of
from .report import print_json
from .state import State, json_option
from .table import print_rows

if TYPE_CHECKING:
    from sagellm_core.contract.errors import SageLLMError

_COLORS = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command()
@json_option
@click.pass_obj
def command(state: State) -> int:
    """Show what is installed, what auto would pick, and the configuration in use.

    Nothing is loaded or downloaded. The exit code is 1 if something is in the way of running a
    model. 'sagellm doctor' looks closer.
    """
    from .log import show_log

    show_log(state)
    report = {
        "plugins": _plugins(state),
        "choice": _choice(state),
        "models": _models(),
        "config": _config(),
        "conflicts": _conflicts(),
    }
    wrong = any(part["severity"] == "error" for part in report.values())
    if state.json:
        print_json({"ok": not wrong, **report})
        return exit_codes.ERROR if wrong else exit_codes.OK
    rows = []
    for about, part in report.items():
        severity = part["severity"]
        mark = click.style(severity, fg=_COLORS[severity], bold=severity == "error")
        rows.append((mark, about, part["message"]))
        if part["hint"]:
            rows.append(("", "", part["hint"]))
    print_rows(rows)
    return exit_codes.ERROR if wrong else exit_codes.OK


def _part(severity: str, message: str, hint: str = "", **data: Any) -> dict[str, Any]:
    return {"severity": severity, "message": message, "hint": hint, **data}


def _failed(error: SageLLMError, **data: Any) -> dict[str, Any]:
    return _part("error", error.message, error.hint, **data)


def _plugins(state: State) -> dict[str, Any]:
    from sagellm_core import __version__
    from sagellm_core.contract.errors import SageLLMError

    from .installed import installed_plugins

    try:
        entries = installed_plugins(state)
    except SageLLMError as error:
        return _failed(error, core=__version__, installed=[])
    installed = [
        {
            "name": entry.name,
            "dist": entry.dist,
            "version": entry.version,
            "rejected": None if entry.rejection is None else entry.rejection.message,
        }
        for entry in entries
    ]
    named = ", ".join(
        f"{entry.name} ({entry.dist} {entry.version}{', refused' if entry.rejection else ''})"
        for entry in entries
    )
    message = f"sagellm-core {__version__}; providers: {named or 'none'}"
    hint = "" if entries else "Each device has its own: pip install sagellm-NAME"
    return _part("ok" if entries else "error", message, hint, core=__version__, installed=installed)


def _choice(state: State) -> dict[str, Any]:
    from sagellm_core.contract.errors import SageLLMError
    from sagellm_core.providers import explain

    try:
        controls = controls_of(state)
        explanation = explain(None, controls)
    except SageLLMError as error:
        return _failed(error, backend=None)
    if explanation.error is not None:
        return _failed(explanation.error, backend=None)
    chosen = explanation.chosen
    assert chosen is not None
    device = chosen.device.id if chosen.device else None
    asked = "auto would pick" if controls.backend == "auto" else "asked for by name is"
    return _part(
        "ok",
        f"{asked} {chosen.entry.name}{f' on {device}' if device else ''}: {explanation.why}",
        backend=chosen.entry.name,
        device=device,
        why=explanation.why,
    )


def _models() -> dict[str, Any]:
    from sagellm_core.contract.errors import SageLLMError
    from sagellm_core.models import list_models, model_root

    try:
        count = len(list_models())
    except SageLLMError as error:
        return _failed(error, count=None)
    root = str(model_root())
    hint = "" if count else "Fetch one with: sagellm models download org/name"
    return _part("ok", f"{count} registered, in {root}", hint, count=count, root=root)


def _config() -> dict[str, Any]:
    from sagellm_core.config import SECTION, find_config_file, validate_file
    from sagellm_core.contract.errors import SageLLMError

    try:
        path = find_config_file()
        problems = [] if path is None else validate_file(path)
    except SageLLMError as error:
        return _failed(error, file=None)
    if path is None:
        return _part(
            "ok",
            "no config.yaml was found; defaults and SAGELLM_* variables hold",
            "Write one with: sagellm config auto",
            file=None,
        )
    if not problems:
        hint = ""
        if not os.environ.get("SAGELLM_CONFIG"):
            hint = "SageLLMGenerator.from_config() reads it; 'run' does with --config FILE."
        return _part("ok", f"{path}: {SECTION} is valid", hint, file=str(path))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return _part(
        "error",
        f"{problems[0].error().message}{more}",
        f"See all with: sagellm config validate {path}",
        file=str(path),
    )


def _conflicts() -> dict[str, Any]:
    from .intruders import eviction, intruders

    found = intruders()
    if not found:
        return _part("ok", "no isagellm-* distribution is installed beside us", found=[])
    return _part(
        "error",
        f"{', '.join(found)} owns the same names as sagellm-core.",
        eviction(found),
        found=found,
    )
