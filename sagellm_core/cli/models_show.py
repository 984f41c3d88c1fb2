"""``sagellm models show``."""

from __future__ import annotations

from typing import Any

import click

from .registered import registered_model, registered_model_argument, source_of
from .report import print_json
from .state import State, json_option
from .table import print_rows, printable


@click.command()
@registered_model_argument
@json_option
@click.pass_obj
def command(state: State, name: str) -> None:
    """Show what is known about the registered model NAME."""
    model = registered_model(name)
    facts: dict[str, Any] = {**model.to_dict(), "state": model.state, "problem": model.problem}
    if model.is_complete:
        facts.update(_from_headers(str(model.path)))
    if state.json:
        print_json(facts)
        return
    rows = [
        ("id", model.model_id),
        ("path", str(model.path)),
        ("state", model.state + (f": {model.problem}" if model.problem else "")),
        ("from", source_of(model)),
        ("revision", model.revision or "default"),
        ("commit", model.commit or "unknown"),
        ("size", f"{model.size_mb:,.1f} MiB"),
        ("last used", model.last_used_iso or "never"),
        ("tags", ", ".join(model.tags) or "none"),
    ]
    rows += [
        (key.replace("_", " "), str(value))
        for key, value in facts.items()
        if key not in {*model.to_dict(), "state", "problem"} and value not in (None, "")
    ]
    print_rows([(key, printable(value)) for key, value in rows])


def _from_headers(path: str) -> dict[str, Any]:
    """What the model's own files say; what is wrong with them instead, if they cannot be used."""
    from sagellm_core.contract.errors import ModelError
    from sagellm_core.models import describe

    try:
        described = describe(path, allow_download=False)
    except ModelError as error:
        return {"unusable": error.message}
    return {
        "format": str(described.format),
        "architecture": described.architecture or described.model_type,
        "parameters": described.parameter_count,
        "weights": described.weight_dtype,
        "context_length": described.context_length,
    }
