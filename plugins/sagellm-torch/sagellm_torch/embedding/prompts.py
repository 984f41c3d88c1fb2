"""The prompts of ``config_sentence_transformers.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sagellm_core.contract import ModelFormatError
from sagellm_torch.checkpoint.weight_files import read_json

_HINT = "Fetch the model again."


def read_prompts(directory: Path) -> dict[str, str]:
    """Prompts by name; the default one is there under ``""`` too.

    :raises ModelFormatError: they are no texts, or the default one is not among them.
    """
    file = directory / "config_sentence_transformers.json"
    if not file.is_file():
        return {}
    config = read_json(file)
    given = config.get("prompts") or {}
    fine = isinstance(given, Mapping) and all(
        value is None or isinstance(value, str) for value in given.values()
    )
    if not fine:
        raise ModelFormatError(f"{file} has prompts that are no texts.", hint=_HINT)
    prompts = {str(name): text for name, text in given.items() if text is not None}
    default = config.get("default_prompt_name")
    if default is not None:
        if default not in prompts:
            raise ModelFormatError(
                f"{file} has default_prompt_name={default!r}, and prompts for: "
                f"{', '.join(prompts) or 'nothing'}.",
                hint=_HINT,
            )
        prompts[""] = prompts[default]
    return prompts
