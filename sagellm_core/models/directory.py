"""Hugging Face directories: ``config.json`` and safetensors files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sagellm_core.contract.errors import ModelFormatError, UnsafeModelError
from sagellm_core.contract.model import ModelDescription, ModelFormat

from .place import PICKLE_SUFFIXES, pickle_weights_error
from .resolved import ResolvedModel
from .safetensors import read_safetensors_header

_MAX_JSON_BYTES = 64 * 1024 * 1024
_INDEX = "model.safetensors.index.json"

#: Names that config.json files have had for the longest sequence, the usual one first.
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


def describe_directory(resolved: ResolvedModel) -> ModelDescription:
    """Describe a directory with ``config.json`` and safetensors weights.

    :raises ModelFormatError: config.json or a weight file is corrupt, or weights are missing.
    :raises UnsafeModelError: config.json asks for remote code, or there are pickle weights only.
    """
    place = resolved.path
    config = _read_object(place / "config.json")
    _refuse_remote_code(place, config)
    files, wanted = find_weights(place)
    count, weight_bytes, elements = _read_weights(files, wanted)

    text_config = config.get("text_config")
    text: Mapping[str, Any] = text_config if isinstance(text_config, dict) else {}
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else ""
    model_type = config.get("model_type", "")
    return ModelDescription(
        reference=resolved.reference,
        format=ModelFormat.SAFETENSORS,
        path=place,
        model_type=model_type if isinstance(model_type, str) else "",
        architecture=first if isinstance(first, str) else "",
        config=config,
        files=files,
        context_length=_first_size(text, config, _CONTEXT_KEYS),
        vocab_size=_first_size(text, config, ("vocab_size",)),
        parameter_count=count,
        weight_bytes=weight_bytes,
        weight_dtype=max(elements, key=lambda name: (elements[name], name)),
        revision=resolved.revision,
    )


def check_directory(place: Path) -> None:
    """Check that config.json parses and that every weight file is there and as long as it says.

    :raises ModelFormatError: one is corrupt, truncated or missing.
    :raises UnsafeModelError: there are pickle weights only.
    :raises UnsupportedModelError: a tensor has a dtype that is unknown here.
    """
    _read_object(place / "config.json")
    _read_weights(*find_weights(place))


def find_weights(place: Path) -> tuple[tuple[Path, ...], dict[str, str]]:
    """The weight files of a directory, and which tensor the index expects in which file.

    The index decides where there is one; then ``model.safetensors``; then every other
    ``*.safetensors`` in order of name.

    :raises ModelFormatError: no weights, or the index names files that are missing.
    :raises UnsafeModelError: there are pickle weights only.
    """
    if (place / _INDEX).exists():
        return _from_index(place)
    if (place / "model.safetensors").exists():
        return (place / "model.safetensors",), {}
    names = sorted(entry.name for entry in place.iterdir())
    files = tuple(
        place / name
        for name in names
        if name.endswith(".safetensors") and not name.startswith("adapter_")
    )
    if files:
        return files, {}
    pickles = [name for name in names if name.lower().endswith(PICKLE_SUFFIXES)]
    if pickles:
        raise pickle_weights_error(place, pickles)
    raise ModelFormatError(
        f"{place} has a config.json and no weights (*.safetensors).",
        hint="Download the weights too; an interrupted download leaves such a directory.",
    )


def _from_index(place: Path) -> tuple[tuple[Path, ...], dict[str, str]]:
    weight_map = _read_object(place / _INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelFormatError(
            f"{place / _INDEX} has no weight_map.", hint="Download the file again."
        )
    for name in weight_map.values():
        if not isinstance(name, str) or Path(name).name != name or not name:
            raise ModelFormatError(
                f"{place / _INDEX} names the file {str(name)[:80]!r}, which is not beside it.",
                hint="Weight files must lie in the model's own directory.",
            )
    names = list(dict.fromkeys(weight_map.values()))
    unsafe = [name for name in names if not name.endswith(".safetensors")]
    if unsafe:
        raise pickle_weights_error(place, unsafe)
    missing = [name for name in names if not (place / name).exists()]
    if missing:
        raise ModelFormatError(
            f"{place} lacks {len(missing)} of {len(names)} weight files: {', '.join(missing[:5])}.",
            hint="Download the missing files into the directory.",
        )
    return tuple(place / name for name in sorted(names)), weight_map


def _read_weights(
    files: tuple[Path, ...], wanted: Mapping[str, str]
) -> tuple[int, int, dict[str, int]]:
    """Parameters, bytes, and elements by dtype, of all files together."""
    home: dict[str, Path] = {}
    elements: dict[str, int] = {}
    weight_bytes = 0
    for file in files:
        header = read_safetensors_header(file)
        weight_bytes += header.data_bytes
        for name, (count, dtype) in header.tensors.items():
            if name in home:
                raise ModelFormatError(
                    f"Tensor {name[:80]!r} is in {home[name].name} and in {file.name}.",
                    hint=f"Keep one release of the model in {file.parent}.",
                )
            home[name] = file
            elements[dtype] = elements.get(dtype, 0) + count
    for name, expected in wanted.items():
        if name not in home or home[name].name != expected:
            raise ModelFormatError(
                f"{_INDEX} expects tensor {name[:80]!r} in {expected}, which lacks it.",
                hint="Index and weight files are of different releases: download both again.",
            )
    if not elements:
        raise ModelFormatError(f"{files[0]} holds no tensors.", hint="Download the weights again.")
    return sum(elements.values()), weight_bytes, elements


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ModelFormatError(
                f"{path} has {path.stat().st_size} bytes, which no such file needs.",
                hint="Download the file again.",
            )
        value = json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise ModelFormatError(
            f"{path} is missing.", hint="Download it into the model's directory."
        ) from error
    except OSError as error:
        raise ModelFormatError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise ModelFormatError(
            f"{path} is not UTF-8 (byte {error.start}).", hint="Download the file again."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(
            f"{path} is not valid JSON: {str(error)[:120]}.", hint="Download the file again."
        ) from error
    if not isinstance(value, dict):
        raise ModelFormatError(
            f"{path} holds {type(value).__name__}, not an object.",
            hint="Download the file again.",
        )
    return value


def _refuse_remote_code(place: Path, config: Mapping[str, Any]) -> None:
    for key in _truthy_keys(config):
        if key in ("auto_map", "trust_remote_code"):
            raise UnsafeModelError(
                f"{place / 'config.json'} asks for code that came with the model ({key}); "
                "nothing of it was run.",
                hint="Use a release of the model that needs no remote code. If you know that its "
                f"architecture needs none, remove {key!r} from config.json.",
            )


def _truthy_keys(value: Any) -> Iterator[str]:
    """Every key with a value that says something, at any depth."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield from (key for key, inner in item.items() if inner)
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def _first_size(
    text: Mapping[str, Any], config: Mapping[str, Any], keys: tuple[str, ...]
) -> int | None:
    for source in (text, config):
        for key in keys:
            value = source.get(key)
            if type(value) is int and value > 0:
                return value
    return None
