"""Whether a safetensors file is as long as its header says.

The library checks this too, but says only that it failed. Layout (safetensors' README): a u64
length, that many bytes of JSON, then the data; the last ``data_offsets`` end with the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sagellm_core.contract import ModelFormatError

#: The library's own limit.
_MAX_HEADER = 100_000_000
_HINT = "The file is damaged or incomplete; fetch the model again."


def check_length(path: Path) -> None:
    """Compare the length of the file with its header's.

    :raises ModelFormatError: it is not a safetensors file, or not whole.
    """
    size, length, header = _read(path)
    try:
        ends = [
            entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"
        ]
        expected = 8 + length + max(ends, default=0)
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise ModelFormatError(f"{path} has no valid header.", hint=_HINT) from error
    if size != expected:
        raise ModelFormatError(
            f"{path} has {size} bytes; its header describes {expected}.", hint=_HINT
        )


def read_names(path: Path) -> frozenset[str]:
    """Names of the tensors in a file.

    :raises ModelFormatError: it has no valid header.
    """
    _, _, header = _read(path)
    if not isinstance(header, dict):
        raise ModelFormatError(f"{path} has no valid header.", hint=_HINT)
    return frozenset(header) - {"__metadata__"}


def _read(path: Path) -> tuple[int, int, Any]:
    """Bytes of the file, bytes of its header, and the header."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER):
                raise ModelFormatError(
                    f"{path} is not a whole safetensors file: it has {size} bytes and claims a "
                    f"header of {length}.",
                    hint=_HINT,
                )
            return size, length, json.loads(file.read(length))
    except OSError as error:
        raise ModelFormatError(
            f"{path} could not be read: {error.strerror or error}.", hint=_HINT
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path} has no valid header: {error}.", hint=_HINT) from error
