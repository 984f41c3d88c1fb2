"""Names of the tensors of a model directory, read without torch."""

from __future__ import annotations

from pathlib import Path

from sagellm_core.contract import ModelError

from .safetensors_header import read_names
from .weight_files import weight_files


def stored_names(directory: Path) -> frozenset[str] | None:
    """The names, or ``None`` where the files cannot say: loading will say what is wrong."""
    try:
        files = weight_files(directory)
        return frozenset().union(*(names or read_names(path) for path, names in files.items()))
    except ModelError:
        return None
