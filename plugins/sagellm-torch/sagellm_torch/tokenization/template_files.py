"""Where a Hugging Face directory keeps its chat templates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagellm_core.contract import ModelFormatError, TokenizerError
from sagellm_torch.checkpoint.weight_files import read_json

_DEFAULT = "default"


def template_sources(directory: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Template texts by name; empty where there is none.

    ``chat_template.jinja`` and ``additional_chat_templates/*.jinja`` come before
    ``chat_template.json``, and that before tokenizer_config.json, as in transformers.

    :raises TokenizerError: a file that cannot be read.
    """
    sources: dict[str, str] = {}
    single = directory / "chat_template.jinja"
    if single.is_file():
        sources[_DEFAULT] = _text(single)
    for path in sorted((directory / "additional_chat_templates").glob("*.jinja")):
        sources[path.stem] = _text(path)
    if sources:
        return sources
    legacy = directory / "chat_template.json"
    if legacy.is_file():
        try:
            sources = _named(read_json(legacy).get("chat_template"))
        except ModelFormatError as error:
            raise TokenizerError(error.message, hint=error.hint) from error
    return sources or _named(config.get("chat_template"))


def _named(value: Any) -> dict[str, str]:
    """A template, a mapping of templates, or a list of ``{"name", "template"}``."""
    if isinstance(value, str):
        return {_DEFAULT: value}
    if isinstance(value, Mapping):
        return {str(name): text for name, text in value.items() if isinstance(text, str)}
    if isinstance(value, list):
        return {
            str(entry["name"]): entry["template"]
            for entry in value
            if isinstance(entry, Mapping) and isinstance(entry.get("template"), str)
            and "name" in entry
        }  # fmt: skip
    return {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(
            f"{path} could not be read: {error}.", hint="Fetch the model again."
        ) from error
