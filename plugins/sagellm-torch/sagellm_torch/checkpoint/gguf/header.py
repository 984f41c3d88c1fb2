"""Reading the header of a GGUF file: key-values and the table of tensors.

Layout (ggml's ``docs/gguf.md``, versions 2 and 3, little-endian)::

    magic "GGUF" | version u32 | n_tensors u64 | n_kv u64
    n_kv      x  key string | type u32 | value
    n_tensors x  name string | n_dims u32 | dims u64[n_dims] | type u32 | offset u64
    padding to general.alignment | tensor data

A string is a u64 length and that many bytes of UTF-8; an array is an element type u32, a count
u64 and the elements. Counts and lengths are compared with the bytes that are left before they
are believed, so that a damaged file costs neither memory nor time.
"""

from __future__ import annotations

import math
import mmap
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagellm_core.contract import ModelFormatError, UnsupportedModelError

from .ggml_types import GGML_TYPES, GGMLType
from .metadata import ArrayField, Metadata, Scalar

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_MAX_ALIGNMENT = 1 << 20
_MAX_DIMS = 4
_DAMAGED = "The file is damaged or incomplete; download or convert it again."

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_STRING = 8
_ARRAY = 9
_BOOL = 7
_FLOAT32 = 6
#: Value type number -> how one value of fixed size is stored.
_FIXED = {
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


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one tensor lies in the file."""

    name: str
    #: Outermost dimension first, as torch has it (the file has the innermost first).
    shape: tuple[int, ...]
    type: GGMLType
    #: From the start of the file, in bytes.
    offset: int
    #: In bytes.
    size: int


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """All that a GGUF file says before its weights."""

    path: Path
    version: int
    metadata: Metadata
    tensors: Mapping[str, TensorEntry]


def read_header(path: Path) -> GGUFHeader:
    """Read the header of the GGUF file at ``path``.

    :raises ModelFormatError: not a GGUF file, a version or byte order that is not supported,
        or damaged.
    :raises UnsupportedModelError: a tensor has an unknown type, or the file is one part of
        several.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size < 24:
                raise ModelFormatError(
                    f"{path} has {size} bytes; a GGUF header alone has at least 24.", hint=_DAMAGED
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return _Parser(path, view, size).header()
    except OSError as error:
        raise ModelFormatError(
            f"{path} could not be read: {error.strerror or error}.",
            hint="Check the path and its permissions.",
        ) from error


class _Parser:
    """A cursor over the header; every read checks that the bytes are there."""

    def __init__(self, path: Path, view: mmap.mmap, size: int) -> None:
        self._path = path
        self._view = view
        self._size = size
        self._at = 0

    def header(self) -> GGUFHeader:
        version = self._preamble()
        n_tensors, n_kv = self._u64("tensor count"), self._u64("key count")
        # A key-value takes at least 13 bytes (empty key, type, one byte), a tensor entry 32.
        if n_kv * 13 + n_tensors * 32 > self._size - self._at:
            raise self._damaged(
                f"claims {n_kv} keys and {n_tensors} tensors but has only {self._size} bytes"
            )
        fields: dict[str, Scalar | ArrayField] = {}
        for _ in range(n_kv):
            key = self._string("key")
            if key in fields:
                raise self._damaged(f"has the key {key!r} twice")
            fields[key] = self._value(key, self._u32(f"type of {key}"))
        metadata = Metadata(self._path, fields)
        parts = metadata.integer("split.count", 1)
        if parts > 1:
            raise UnsupportedModelError(
                f"{self._path} is one of {parts} parts of a split GGUF model.",
                hint="Join the parts with llama.cpp's `llama-gguf-split --merge` and pass that.",
            )
        return GGUFHeader(self._path, version, metadata, self._tensors(n_tensors, metadata))

    def _preamble(self) -> int:
        magic = self._view[:4]
        if magic != _MAGIC:
            raise ModelFormatError(
                f"{self._path} is not a GGUF file: it begins with {magic!r}, not {_MAGIC!r}.",
                hint="Pass a .gguf file, or a directory with config.json and safetensors files.",
            )
        self._at = 4
        version = self._u32("version")
        if version in _VERSIONS:
            return version
        if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
            raise ModelFormatError(
                f"{self._path} is a big-endian GGUF file.", hint="Convert it to little-endian."
            )
        raise ModelFormatError(
            f"{self._path} is of GGUF version {version}; versions 2 and 3 are supported.",
            hint="Convert the model again with a current llama.cpp.",
        )

    def _value(self, key: str, kind: int) -> Scalar | ArrayField:
        if kind == _STRING:
            return self._string(key)
        if kind == _ARRAY:
            return self._array(key)
        fixed = _FIXED.get(kind)
        if fixed is None:
            raise self._damaged(f"gives {key} the unknown value type {kind}")
        value: Scalar = fixed.unpack_from(self._view, self._take(fixed.size, key))[0]
        # 9.999999747e-06 in float32 was 1e-05 in the config that it came from: take the
        # shortest decimal that rounds to the same float32.
        return _shortest(value) if kind == _FLOAT32 and isinstance(value, float) else value

    def _array(self, key: str) -> ArrayField:
        kind = self._u32(f"element type of {key}")
        count = self._u64(f"length of {key}")
        fixed = _FIXED.get(kind)
        if fixed is not None:
            start = self._take(fixed.size * count, key)
            return ArrayField(fixed.format[1:], count, self._view[start : self._at])
        if kind != _STRING:
            raise self._damaged(f"has an array {key} of element type {kind}")
        start = self._at
        if count * 8 > self._size - start:
            raise self._damaged(f"claims {count} strings in {key}, more than it has bytes for")
        # This loop runs a hundred thousand times for a vocabulary: no calls but the unpacking.
        at, last, unpack, view = start, self._size - 8, _U64.unpack_from, self._view
        starts = array("Q")
        append = starts.append
        for _ in range(count):
            if at > last:
                raise self._damaged(f"ends inside {key}")
            append(at + 8 - start)
            at += 8 + unpack(view, at)[0]
        if at > self._size:
            raise self._damaged(f"ends inside {key}")
        append(at + 8 - start)
        self._at = at
        return ArrayField("s", count, view[start:at], starts)

    def _tensors(self, count: int, metadata: Metadata) -> dict[str, TensorEntry]:
        raw = []
        for _ in range(count):
            name = self._string("tensor name")
            n_dims = self._u32(f"dimensions of {name}")
            if not 1 <= n_dims <= _MAX_DIMS:
                raise self._damaged(f"gives the tensor {name} {n_dims} dimensions")
            shape = tuple(reversed([self._u64(f"shape of {name}") for _ in range(n_dims)]))
            raw.append((name, shape, self._u32(f"type of {name}"), self._u64(f"offset of {name}")))
        alignment = metadata.integer("general.alignment", _DEFAULT_ALIGNMENT)
        if not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
            raise self._damaged(f"has general.alignment {alignment}, which is no power of two")
        data = -(-self._at // alignment) * alignment
        tensors: dict[str, TensorEntry] = {}
        for name, shape, kind, offset in raw:
            if name in tensors:
                raise self._damaged(f"has the tensor {name} twice")
            tensors[name] = self._entry(name, shape, kind, data, offset, alignment)
        return tensors

    def _entry(
        self, name: str, shape: tuple[int, ...], kind: int, data: int, offset: int, alignment: int
    ) -> TensorEntry:
        ggml_type = GGML_TYPES.get(kind)
        if ggml_type is None:
            known = ", ".join(each.name for each in GGML_TYPES.values())
            raise UnsupportedModelError(
                f"The tensor {name} of {self._path} has the ggml type {kind}.",
                hint=f"Quantise the model to one of: {known}.",
            )
        if 0 in shape or shape[-1] % ggml_type.block_size or offset % alignment:
            raise self._damaged(
                f"gives the tensor {name} the shape {shape} and offset {offset}, which do not "
                f"suit {ggml_type.name} blocks of {ggml_type.block_size} and alignment {alignment}"
            )
        size = math.prod(shape) // ggml_type.block_size * ggml_type.block_bytes
        if data + offset + size > self._size:
            raise self._damaged(
                f"has {self._size} bytes, but the tensor {name} ends at byte {data + offset + size}"
            )
        return TensorEntry(name, shape, ggml_type, data + offset, size)

    def _take(self, count: int, what: str) -> int:
        """Move past ``count`` bytes; where they began."""
        start = self._at
        if count > self._size - start:
            raise self._damaged(
                f"ends inside {what}: {count} bytes are needed at byte {start} of {self._size}"
            )
        self._at = start + count
        return start

    def _u32(self, what: str) -> int:
        value: int = _U32.unpack_from(self._view, self._take(4, what))[0]
        return value

    def _u64(self, what: str) -> int:
        value: int = _U64.unpack_from(self._view, self._take(8, what))[0]
        return value

    def _string(self, what: str) -> str:
        start = self._take(self._u64(f"length of {what}"), what)
        try:
            return self._view[start : self._at].decode()
        except UnicodeDecodeError as error:
            raise self._damaged(f"has a {what} that is not UTF-8") from error

    def _damaged(self, how: str) -> ModelFormatError:
        return ModelFormatError(f"{self._path} {how[:300]}.", hint=_DAMAGED)


def _shortest(value: float) -> float:
    for digits in range(6, 9):
        candidate = float(f"{value:.{digits}g}")
        if _as_float32(candidate) == value:
            return candidate
    return value


def _as_float32(value: float) -> Any:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.inf
