"""Headers of GGUF files, and whether the files are whole.

The format: ggml's ``docs/gguf.md``, versions 2 and 3, little-endian. A file is hostile until
proven otherwise: every count and length is checked against the bytes that are left before
anything is read or kept.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagellm_core.contract.errors import ModelFormatError, UnsupportedModelError

from .foreign import foreign_hint, foreign_kind
from .ggml_types import GGML_TYPES

_AGAIN = "Download or copy the file again; it is not what its author published."

# Value types of the metadata (docs/gguf.md, `gguf_metadata_value_type`).
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING, _ARRAY = 8, 9
_U32, _U64 = _SCALARS[4], _SCALARS[10]

# Limits, each far above what real files have.
_MAX_PAIRS = 1 << 16
_MAX_TENSORS = 1 << 20
_MAX_ARRAY_ITEMS = 1 << 23
_MAX_KEY_BYTES = 1 << 16
_MAX_STRING_BYTES = 1 << 24
_MAX_KEPT_BYTES = 1 << 26
_MAX_DIMENSIONS = 4
#: Arrays up to this length are kept (per-layer numbers, tags, languages); the rest is counted.
_KEPT_ITEMS = 512


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a file's header says."""

    version: int
    #: Metadata without long arrays.
    metadata: dict[str, Any]
    #: Length of every array, kept or not.
    array_lengths: dict[str, int]
    #: Elements by weight type.
    elements: dict[str, int]
    tensor_count: int
    #: Bytes of all tensors, without padding.
    weight_bytes: int


def read_gguf_header(path: Path) -> GgufHeader:
    """Read and check the header of a file.

    :raises ModelFormatError: it is no GGUF file, or truncated, or breaks the format.
    :raises UnsupportedModelError: a version, byte order, weight type or split file that is not
        supported.
    """
    try:
        with path.open("rb") as file:
            first = file.read(8)
            if first[:4] != b"GGUF":
                raise _foreign(path, first)
            # Mapping lets struct read in place, and the kernel fetch only the header's pages.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).read()
    except OSError as error:
        raise ModelFormatError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check its permissions."
        ) from error


@dataclass(slots=True)
class _Reader:
    path: Path
    data: mmap.mmap
    at: int = 4
    kept: int = 0
    items_left: int = _MAX_ARRAY_ITEMS
    array_lengths: dict[str, int] = field(default_factory=dict)

    def read(self) -> GgufHeader:
        version = self._number(_U32, "version")
        if version not in (2, 3):
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            raise UnsupportedModelError(
                f"{self.path} is a big-endian GGUF file."
                if swapped in (2, 3)
                else f"{self.path} is GGUF version {version}; versions 2 and 3 are supported.",
                hint="Convert the model again with a current llama.cpp.",
            )
        tensors = self._number(_U64, "tensor count")
        pairs = self._number(_U64, "metadata count")
        # The smallest pair has a key length, a type and one byte; the smallest tensor entry a
        # name length, a dimension count, a type and an offset.
        self._check_count(pairs, _MAX_PAIRS, 13, "metadata entries")
        self._check_count(tensors, _MAX_TENSORS, 24, "tensors")
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = self._string("a metadata key", _MAX_KEY_BYTES)
            kind = self._number(_U32, key)
            value = self._value(kind, key)
            if value is not None:
                metadata[key] = value
        split = metadata.get("split.count", 0)
        if isinstance(split, int) and split > 1:
            raise UnsupportedModelError(
                f"{self.path} is one of {split} parts of a split GGUF, which is not supported.",
                hint="Join the parts with llama.cpp: llama-gguf-split --merge FIRST_PART OUTPUT",
            )
        return self._tensors(version, tensors, metadata)

    def _tensors(self, version: int, count: int, metadata: dict[str, Any]) -> GgufHeader:
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or alignment <= 0 or alignment % 8:
            raise self._bad(f"general.alignment is {alignment!r}")
        elements: dict[str, int] = {}
        weight_bytes = needed = 0
        last = ""
        for _ in range(count):
            name = self._string("a tensor name", _MAX_KEY_BYTES)
            dimensions = self._number(_U32, name)
            if not 1 <= dimensions <= _MAX_DIMENSIONS:
                raise self._bad(f"tensor {name[:80]!r} has {dimensions} dimensions")
            shape = [self._number(_U64, name) for _ in range(dimensions)]
            number = self._number(_U32, name)
            offset = self._number(_U64, name)
            kind = GGML_TYPES.get(number)
            if kind is None:
                raise UnsupportedModelError(
                    f"{self.path}: tensor {name[:80]!r} has the unknown weight type {number}.",
                    hint="Update sagellm-core, or use a release in a common quantization.",
                )
            if shape[0] % kind.elements:
                raise self._bad(
                    f"tensor {name[:80]!r} has rows of {shape[0]}, not a multiple of the "
                    f"{kind.elements} elements in a block of {kind.name}"
                )
            if offset % alignment:
                raise self._bad(f"tensor {name[:80]!r} is not aligned to {alignment} bytes")
            total = math.prod(shape)
            stored = total // kind.elements * kind.bytes
            elements[kind.name] = elements.get(kind.name, 0) + total
            weight_bytes += stored
            if offset + stored > needed:
                needed, last = offset + stored, name
        start = -(-self.at // alignment) * alignment
        if count and start + needed > len(self.data):
            raise ModelFormatError(
                f"{self.path} is truncated: tensor {last[:80]!r} ends at byte {start + needed} "
                f"and the file has {len(self.data)}.",
                hint=_AGAIN,
            )
        return GgufHeader(version, metadata, self.array_lengths, elements, count, weight_bytes)

    def _value(self, kind: int, key: str) -> Any:
        """One metadata value; ``None`` for an array that is too long to keep."""
        if kind == _STRING:
            return self._string(key, _MAX_STRING_BYTES)
        if kind == _ARRAY:
            return self._array(key)
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise self._bad(f"{key[:80]!r} has the unknown value type {kind}")
        return self._number(scalar, key)

    def _array(self, key: str) -> list[Any] | None:
        kind = self._number(_U32, key)
        count = self._number(_U64, key)
        scalar = _SCALARS.get(kind)
        if scalar is None and kind != _STRING:
            what = "nested" if kind == _ARRAY else f"of the unknown type {kind}"
            raise self._bad(f"{key[:80]!r} is an array {what}")
        self._check_count(count, self.items_left, scalar.size if scalar else 8, f"items in {key}")
        self.items_left -= count
        self.array_lengths[key] = count
        if count <= _KEPT_ITEMS:
            if scalar:
                return [self._number(scalar, key) for _ in range(count)]
            return [self._string(key, _MAX_STRING_BYTES) for _ in range(count)]
        if scalar:
            self.at += count * scalar.size
        else:
            self._skip_strings(count, key)
        return None

    def _skip_strings(self, count: int, key: str) -> None:
        # The hot loop of this file: a vocabulary has up to some hundred thousand strings.
        unpack, data, at = _U64.unpack_from, self.data, self.at
        end = len(data)
        try:
            for _ in range(count):
                at += 8 + unpack(data, at)[0]
                if at > end:
                    raise self._ends_in(key)
        except struct.error:
            raise self._ends_in(key) from None
        self.at = at

    def _string(self, what: str, limit: int) -> str:
        length = self._number(_U64, what)
        if length > len(self.data) - self.at:
            raise self._ends_in(what)
        self.kept += length
        if length > limit or self.kept > _MAX_KEPT_BYTES:
            raise self._bad(f"{what[:80]!r} has a string of {length} bytes")
        raw = self.data[self.at : self.at + length]
        self.at += length
        return raw.decode("utf-8", "replace")

    def _number(self, kind: struct.Struct, what: str) -> Any:
        try:
            value = kind.unpack_from(self.data, self.at)[0]
        except struct.error:
            raise self._ends_in(what) from None
        self.at += kind.size
        return value

    def _check_count(self, count: int, limit: int, least_bytes: int, what: str) -> None:
        left = len(self.data) - self.at
        if count > limit or count * least_bytes > left:
            raise self._bad(f"it claims {count} {what[:80]} with {left} bytes left")

    def _bad(self, what: str) -> ModelFormatError:
        return ModelFormatError(f"{self.path} is not a proper GGUF file: {what}.", hint=_AGAIN)

    def _ends_in(self, what: str) -> ModelFormatError:
        return ModelFormatError(
            f"{self.path} is truncated: it ends at byte {len(self.data)}, inside {what[:80]!r}.",
            hint=_AGAIN,
        )


def _foreign(path: Path, first: bytes) -> ModelFormatError:
    kind = foreign_kind(first)
    if kind:
        what = f" but {kind}"
    else:
        shown = f"its first bytes are {first[:4]!r}" if first else "it is empty"
        what = f": {shown}, not b'GGUF'"
    return ModelFormatError(
        f"{path} is not a GGUF file{what}.",
        hint=foreign_hint(first, "Pass a .gguf file or a model directory."),
    )
