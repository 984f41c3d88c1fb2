"""Headers of safetensors files, and whether the files are whole.

The format (README of github.com/huggingface/safetensors, "Format"): 8 bytes with the header's
length as a little-endian integer, the header as a JSON object of tensor name to ``dtype``,
``shape`` and ``data_offsets``, then the data, which the tensors cover without holes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from sagellm_core.contract.errors import ModelFormatError, UnsupportedModelError

from .foreign import foreign_hint, foreign_kind

#: The format's own limit on the header.
_MAX_HEADER_BYTES = 100_000_000
_AGAIN = "Download or copy the file again; it is not what its author published."

#: Bits per element and the name that torch uses.
_DTYPES: dict[str, tuple[int, str]] = {
    "BOOL": (8, "bool"),
    "U8": (8, "uint8"),
    "I8": (8, "int8"),
    "F8_E4M3": (8, "float8_e4m3fn"),
    "F8_E5M2": (8, "float8_e5m2"),
    "F8_E8M0": (8, "float8_e8m0fnu"),
    "F8_E4M3FNUZ": (8, "float8_e4m3fnuz"),
    "F8_E5M2FNUZ": (8, "float8_e5m2fnuz"),
    "F4": (4, "float4_e2m1fn"),
    "F6_E2M3": (6, "float6_e2m3"),
    "F6_E3M2": (6, "float6_e3m2"),
    "U16": (16, "uint16"),
    "I16": (16, "int16"),
    "F16": (16, "float16"),
    "BF16": (16, "bfloat16"),
    "U32": (32, "uint32"),
    "I32": (32, "int32"),
    "F32": (32, "float32"),
    "U64": (64, "uint64"),
    "I64": (64, "int64"),
    "F64": (64, "float64"),
    "C64": (64, "complex64"),
}


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """What one file's header says."""

    #: Tensor name to number of elements and dtype (torch's name).
    tensors: dict[str, tuple[int, str]]
    #: Bytes of data after the header.
    data_bytes: int


def read_safetensors_header(path: Path) -> SafetensorsHeader:
    """Read and check the header of a file.

    :raises ModelFormatError: the file is truncated, or its header breaks the format.
    :raises UnsupportedModelError: a tensor has a dtype that is unknown here.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            if len(prefix) < 8:
                raise _bad(path, f"it has {size} bytes, and a header needs at least 8")
            length = int.from_bytes(prefix, "little")
            if length > _MAX_HEADER_BYTES and foreign_kind(prefix):
                raise ModelFormatError(
                    f"{path} is not a safetensors file but {foreign_kind(prefix)}.",
                    hint=foreign_hint(prefix, _AGAIN),
                )
            if length > _MAX_HEADER_BYTES:
                raise _bad(path, f"its header claims {length} bytes (most: {_MAX_HEADER_BYTES})")
            if length > size - 8:
                raise _truncated(path, size, 8 + length)
            raw = file.read(length)
    except OSError as error:
        raise _bad(path, f"it cannot be read: {error.strerror or error}") from error
    if len(raw) < length:
        raise _truncated(path, 8 + len(raw), 8 + length)
    try:
        header = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _bad(path, "its header is not valid JSON") from error
    if not isinstance(header, dict):
        raise _bad(path, "its header is not a JSON object")
    return _checked(path, header, size, 8 + length)


def _checked(path: Path, header: dict[str, Any], size: int, start: int) -> SafetensorsHeader:
    tensors: dict[str, tuple[int, str]] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, count, begin, end = _tensor(path, name, entry)
        bits, torch_name = _DTYPES[dtype]
        if (end - begin) * 8 != count * bits:
            raise _bad(
                path, f"tensor {name!r} has {end - begin} bytes for {count} elements of {dtype}"
            )
        tensors[name] = (count, torch_name)
        spans.append((begin, end))
    reached = 0
    for begin, end in sorted(spans):
        if begin != reached:
            raise _bad(path, f"its tensors overlap or leave a hole at byte {min(begin, reached)}")
        reached = end
    if start + reached > size:
        raise _truncated(path, size, start + reached)
    if start + reached < size:
        raise _bad(path, f"{size - start - reached} bytes follow its last tensor")
    return SafetensorsHeader(tensors=tensors, data_bytes=reached)


def _tensor(path: Path, name: str, entry: Any) -> tuple[str, int, int, int]:
    """The dtype, element count, first byte and end of one entry of a header."""
    if not isinstance(entry, dict):
        raise _bad(path, f"tensor {name[:80]!r} is not described by an object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or not _are_sizes(shape) or not _are_sizes(offsets):
        raise _bad(path, f"tensor {name[:80]!r} lacks a proper dtype, shape or data_offsets")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad(path, f"tensor {name[:80]!r} has data_offsets {str(offsets)[:60]}")
    if dtype not in _DTYPES:
        raise UnsupportedModelError(
            f"{path}: tensor {name[:80]!r} has the unknown dtype {dtype[:40]!r}.",
            hint="Update sagellm-core, or use a release in a common dtype.",
        )
    return dtype, math.prod(shape), offsets[0], offsets[1]


def _are_sizes(value: Any) -> TypeGuard[list[int]]:
    # Numbers beyond 2**63 are no sizes, and multiplying thousands of them would take for ever.
    return (
        isinstance(value, list)
        and len(value) <= 64
        and all(type(item) is int and 0 <= item < 2**63 for item in value)
    )


def _bad(path: Path, what: str) -> ModelFormatError:
    return ModelFormatError(f"{path} is not a proper safetensors file: {what}.", hint=_AGAIN)


def _truncated(path: Path, actual: int, expected: int) -> ModelFormatError:
    return ModelFormatError(
        f"{path} is truncated: its header needs {expected} bytes and the file has {actual}.",
        hint=_AGAIN,
    )
