"""Which safetensors files of a directory make up a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sagellm_core.contract import ModelFormatError, UnsafeModelError

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_INCOMPLETE = "The download is incomplete; fetch the model again."
_MAX_JSON_BYTES = 256 << 20


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    :raises ModelFormatError: unreadable, not JSON, or not an object.
    """
    value = _read(path)
    if not isinstance(value, dict):
        raise _of_another_kind(path, value, "an object")
    return value


def read_json_list(path: Path) -> list[Any]:
    """A JSON array from a file.

    :raises ModelFormatError: unreadable, not JSON, or not an array.
    """
    value = _read(path)
    if not isinstance(value, list):
        raise _of_another_kind(path, value, "an array")
    return value


def _of_another_kind(path: Path, value: object, wanted: str) -> ModelFormatError:
    return ModelFormatError(
        f"{path} holds a JSON {type(value).__name__}; {wanted} was expected.", hint=_INCOMPLETE
    )


def _read(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > _MAX_JSON_BYTES:
            raise ModelFormatError(
                f"{path} has {size} bytes, too many for a JSON file of a model.",
                hint="Put the right file in its place.",
            )
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ModelFormatError(
            f"{path} could not be read: {error.strerror or error}.", hint=_INCOMPLETE
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path} is not valid JSON: {error}.", hint=_INCOMPLETE) from error


def weight_files(directory: Path) -> dict[Path, frozenset[str]]:
    """Each weight file, with the tensors that the index says it has; none where there is none.

    :raises ModelFormatError: no weights, missing shards, or several files and no index.
    :raises UnsafeModelError: the only weights are pickles.
    """
    if not directory.is_dir():
        raise ModelFormatError(
            f"{directory} is not a directory.", hint="Pass the model's directory."
        )
    if (directory / _INDEX).is_file():
        return _shards(directory)
    if (directory / _SINGLE).is_file():
        return {directory / _SINGLE: frozenset()}
    found = sorted(directory.glob("*.safetensors"))
    if len(found) == 1:
        return {found[0]: frozenset()}
    if found:
        shown = ", ".join(each.name for each in found[:4])
        raise ModelFormatError(
            f"{directory} has {len(found)} safetensors files ({shown}) and no {_INDEX}.",
            hint="Fetch the index too, or leave one file there.",
        )
    pickles = sorted({each.name for pattern in _PICKLES for each in directory.glob(pattern)})
    if pickles:
        raise UnsafeModelError(
            f"{directory} has its weights only as pickles ({', '.join(pickles[:3])}), and "
            "loading a pickle runs code.",
            hint="If you trust the file, load it with transformers and save it with "
            "save_pretrained(..., safe_serialization=True).",
        )
    raise ModelFormatError(f"{directory} has no *.safetensors files.", hint=_INCOMPLETE)


def _shards(directory: Path) -> dict[Path, frozenset[str]]:
    index = directory / _INDEX
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ModelFormatError(f"{index} has no weight_map.", hint=_INCOMPLETE)
    tensors: dict[str, set[str]] = {}
    for tensor, file in names.items():
        # A shard lies beside its index; a path that leads elsewhere is no business of a model.
        if not isinstance(file, str) or Path(file).name != file:
            raise ModelFormatError(
                f"{index} puts {tensor} into {file!r}, which is not a file name.",
                hint="Fetch the model again from a source that you trust.",
            )
        tensors.setdefault(file, set()).add(tensor)
    missing = sorted(file for file in tensors if not (directory / file).is_file())
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ModelFormatError(
            f"{directory} lacks {len(missing)} of {len(tensors)} weight files: {shown}.",
            hint=_INCOMPLETE,
        )
    return {directory / file: frozenset(tensors[file]) for file in sorted(tensors)}
