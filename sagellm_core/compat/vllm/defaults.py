"""Sampling parameters that a model recommends in its generation_config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagellm_core.contract import ConfigurationError, ModelFormatError

from .sampling_params import SamplingParams

_FILE = "generation_config.json"
#: A generation config has a dozen short lines.
_LARGEST = 1 << 20
_KEYS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def recommended_sampling(
    source: str, model_path: Path | None, overrides: Mapping[str, Any]
) -> SamplingParams:
    """What a call without sampling parameters uses.

    :param source: ``auto``, the model's own file where it has one; ``vllm``, vLLM's defaults
        alone; or a directory with such a file.
    :param model_path: the model's directory; ``None``, or a GGUF file, recommends nothing.
    :param overrides: win over the file's values.
    :raises ConfigurationError: the directory that was named has no such file.
    :raises ModelFormatError: the file is not what it should be.
    """
    values: dict[str, Any] = {}
    if source == "auto":
        place = model_path / _FILE if model_path is not None and model_path.is_dir() else None
        if place is not None and place.is_file():
            values = _read(place)
    elif source != "vllm":
        place = Path(source).expanduser() / _FILE
        if not place.is_file():
            raise ConfigurationError(
                f"generation_config={source!r} has no {_FILE}.",
                hint='Pass "auto", "vllm", or a directory that has one.',
            )
        values = _read(place)
    values |= overrides
    chosen = {key: values[key] for key in _KEYS if values.get(key) is not None}
    if values.get("max_new_tokens") is not None:
        chosen["max_tokens"] = values["max_new_tokens"]
    return SamplingParams(**chosen)


def _read(place: Path) -> dict[str, Any]:
    hint = "Correct the file, or pass generation_config='vllm'."
    try:
        size = place.stat().st_size
        if size > _LARGEST:
            raise ModelFormatError(f"{place} has {size} bytes.", hint=hint)
        values = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFormatError(f"{place} cannot be read: {error}.", hint=hint) from error
    if not isinstance(values, dict):
        raise ModelFormatError(f"{place} does not hold a JSON object.", hint=hint)
    return values
