"""Whether a model on disk is whole, told from headers and file sizes alone."""

from __future__ import annotations

from pathlib import Path

from sagellm_core.contract.errors import ModelError, UnsupportedModelError
from sagellm_core.contract.model import ModelFormat

from .marker import read_marker


def why_incomplete(path: Path) -> str:
    """What a model lacks, as one sentence; empty when it is whole.

    A directory needs a config.json that parses, every shard that the index names, and weight
    files exactly as long as their headers say; a GGUF file has to reach its last tensor. What
    was downloaded by sagellm needs every file of the download too. A tokenizer is not required.

    :param path: a directory or a GGUF file; it may be missing.
    """
    try:
        return _missing_download(path) or _broken_weights(path)
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {error}."


def _missing_download(path: Path) -> str:
    marker = read_marker(path)
    for name, size in (marker.files if marker else {}).items():
        file = path / name
        if not file.exists():
            return f"{file} is missing."
        if file.stat().st_size != size:
            return f"{file} has {file.stat().st_size} of {size} bytes."
    return ""


def _broken_weights(path: Path) -> str:
    from .directory import check_directory
    from .gguf import read_gguf_header
    from .place import inspect_place

    try:
        place, kind = inspect_place(path)
        if kind is ModelFormat.GGUF:
            read_gguf_header(place)
        else:
            check_directory(place)
    except UnsupportedModelError:
        return ""  # whole as far as can be told here; opening it says what is unsupported
    except ModelError as error:
        return error.message
    return ""
