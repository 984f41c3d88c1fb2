"""Writes a pipeline to a file: as a Python program, or as YAML."""

from __future__ import annotations

import json
import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from sagellm_core.contract import ConfigurationError

from .settings import KINDS, RUNTIMES, Plan, comment_of, names_of

#: What the settings of a program look like before they are filled in.
_EMPTY_SETTINGS = "SETTINGS: dict[str, Any] = {}\n"
_RUN_IMPORT = "from sagellm_core.pipeline import run as run_stages\n"

_YAML = frozenset({".yaml", ".yml"})
_PYTHON = frozenset({".py"})


def program_module(kind: str) -> Any:
    """The program of a kind, as a module with ``main``."""
    return import_module(f".programs.{KINDS[kind][1]}", __package__)


def write_plan(plan: Plan, path: Path, *, overwrite: bool = False) -> None:
    """Write the pipeline; the name's end says how: ``.py``, or ``.yaml`` or ``.yml``.

    :raises ConfigurationError: another ending, the file is there and may not be overwritten, or
        it cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix in _PYTHON:
        text = program_text(plan)
    elif suffix in _YAML:
        text = yaml_text(plan)
    else:
        raise ConfigurationError(
            f"A pipeline cannot be written to {path}: the name ends in {suffix or 'nothing'}.",
            hint="Name it .py for a Python program, or .yaml.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # "x" refuses what is there, links that lead nowhere included, in one step.
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path} is there already.", hint="Add --overwrite, or name another file with -o."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {os.strerror(error.errno or 0)}.",
            hint="Name another file with -o.",
        ) from error


def program_text(plan: Plan) -> str:
    """The pipeline as a Python program: the kind's own, with these settings."""
    source = Path(program_module(plan.kind).__file__).read_text(encoding="utf-8")
    assert source.count(_EMPTY_SETTINGS) == 1
    assert source.count(_RUN_IMPORT) == 1
    lines = ["SETTINGS: dict[str, Any] = {\n"]
    for name in names_of(plan.kind):
        lines.append(f"    # {comment_of(name)}\n")
        lines.append(f'    "{name}": {_literal(plan.settings[name], 4)},\n')
    source = source.replace(_EMPTY_SETTINGS, "".join(lines) + "}\n")
    if plan.runtime != "plain":
        wanted = RUNTIMES[plan.runtime]
        source = source.replace(_RUN_IMPORT, f"from {wanted} import run as run_stages\n")
    return source


def yaml_text(plan: Plan) -> str:
    """The pipeline as YAML: the settings, with what each means."""
    lines = ["pipeline:\n", f"  type: {plan.kind}\n", f"  runtime: {plan.runtime}\n"]
    sections = ""
    for name in names_of(plan.kind):
        if name == "generator":  # a section of its own, as in SAGE's config.yaml
            sections = f"\n# {comment_of(name)}\n" + _yaml({name: plan.settings[name]})
            continue
        entry = f"# {comment_of(name)}\n" + _yaml({name: plan.settings[name]})
        lines.append(re.sub(r"^(?=.)", "  ", entry, flags=re.MULTILINE))
    return "".join(lines) + sections


def _yaml(value: Any) -> str:
    import yaml

    return str(yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=4096))


def _literal(value: Any, indent: int) -> str:
    """A Python literal, one line for each entry of a dict."""
    if isinstance(value, str):
        # JSON's strings are Python's too, in the quotes that formatters want.
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict) or not value:
        return repr(value)
    inner = " " * (indent + 4)
    entries = "".join(
        f"{inner}{_literal(key, 0)}: {_literal(each, indent + 4)},\n" for key, each in value.items()
    )
    return "{\n" + entries + " " * indent + "}"
