"""What lies at a path on disk, as far as names and first bytes tell."""

from __future__ import annotations

from pathlib import Path

from sagellm_core.contract.errors import (
    ModelFormatError,
    ModelNotFoundError,
    UnsafeModelError,
    UnsupportedModelError,
)
from sagellm_core.contract.model import ModelFormat

#: Weight files that are pickle, or may be: reading one can run any code.
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_CONVERT = (
    "Convert it to safetensors on a machine where you trust its author "
    "(transformers: model.save_pretrained(DIRECTORY)), or use a safetensors or GGUF release."
)


def inspect_place(place: Path) -> tuple[Path, ModelFormat]:
    """The model at ``place``: itself, or the one GGUF file in it; absolute, and its format.

    :param place: an existing directory or file.
    :raises ModelNotFoundError: nothing is there, the directory is empty, or it may not be read.
    :raises ModelFormatError: there is no model there, or more than one.
    :raises UnsafeModelError: there are pickle weights only.
    :raises UnsupportedModelError: the only GGUF there is split over several files.
    """
    place = place.absolute()
    try:
        if place.is_dir():
            return _inspect_directory(place)
        if not place.exists():
            raise ModelNotFoundError(
                f"The model is gone: there is nothing at {place}.",
                hint="Put it back, or correct the reference.",
            )
        if not place.is_file():
            raise ModelFormatError(
                f"{place} is neither a directory nor a regular file.",
                hint="Pass a model directory or a .gguf file.",
            )
    except PermissionError as error:
        raise ModelNotFoundError(
            f"{place} may not be read: {error.strerror}.", hint="Check its permissions."
        ) from error
    return _inspect_file(place)


def pickle_weights_error(place: Path, names: list[str]) -> UnsafeModelError:
    """The refusal of a directory or file whose weights are pickle."""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return UnsafeModelError(
        f"The weights in {place} are pickle ({shown}), which can run any code when read.",
        hint=_CONVERT,
    )


def _inspect_file(place: Path) -> tuple[Path, ModelFormat]:
    suffix = place.suffix.lower()
    if suffix in PICKLE_SUFFIXES:
        raise pickle_weights_error(place.parent, [place.name])
    if suffix == ".safetensors" or place.name == "config.json":
        raise ModelFormatError(
            f"{place} is one file of a model directory.", hint=f"Pass the directory: {place.parent}"
        )
    return place, ModelFormat.GGUF


def _inspect_directory(place: Path) -> tuple[Path, ModelFormat]:
    names = sorted(entry.name for entry in place.iterdir())
    if not names:
        raise ModelNotFoundError(
            f"The model directory {place} is empty.",
            hint="Download or copy the model into it, or pass another directory.",
        )
    # Reading a pipe or a device would wait, for ever perhaps.
    odd = [name for name in names if _is_odd(place / name)]
    if odd:
        raise ModelFormatError(
            f"{place / odd[0]} is neither a directory nor a regular file.",
            hint="Remove it from the model's directory.",
        )
    lower = {name: name.lower() for name in names}
    ggufs = [name for name in names if lower[name].endswith(".gguf")]
    safetensors = [name for name in names if lower[name].endswith(".safetensors")]
    if "config.json" in names and (safetensors or not ggufs):
        return place, ModelFormat.SAFETENSORS
    if ggufs:
        return _only_gguf(place, ggufs), ModelFormat.GGUF
    if "adapter_config.json" in names:
        raise UnsupportedModelError(
            f"{place} holds an adapter (adapter_config.json), not a whole model.",
            hint="Merge it into its base model first (peft: merge_and_unload).",
        )
    pickles = [name for name in names if lower[name].endswith(PICKLE_SUFFIXES)]
    if pickles and not safetensors:
        raise pickle_weights_error(place, pickles)
    raise ModelFormatError(
        f"The directory {place} has no config.json, so it is no model directory.",
        hint=_nearby_model(place)
        or "Pass the directory that holds config.json and *.safetensors, or a .gguf file.",
    )


def _is_odd(place: Path) -> bool:
    return place.exists() and not place.is_file() and not place.is_dir()


def _only_gguf(place: Path, names: list[str]) -> Path:
    if len(names) == 1:
        return place / names[0]
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    raise ModelFormatError(
        f"The directory {place} has {len(names)} GGUF files: {shown}.",
        hint=f"Pass one of them, as in {place / names[0]}",
    )


def _nearby_model(place: Path) -> str:
    """A hint naming the directory one or two levels below that is meant, or nothing."""
    for pattern in ("*/config.json", "snapshots/*/config.json"):
        for found in sorted(place.glob(pattern)):
            return f"Did you mean {found.parent}?"
    return ""
