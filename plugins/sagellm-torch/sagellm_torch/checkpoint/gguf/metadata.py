"""Key-values of a GGUF header, with their types checked when they are asked for."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy
from numpy.typing import NDArray

from sagellm_core.contract import ModelFormatError

Scalar = bool | int | float | str
T = TypeVar("T")

#: :mod:`struct` letters.
_INTEGERS, _FLOATS = "bBhHiIqQ?", "fd"


class _Required(Enum):
    """The default of keys that have none; ``None`` is a default like any other."""

    REQUIRED = "required"


_REQUIRED: Final = _Required.REQUIRED


@dataclass(frozen=True, slots=True)
class ArrayField:
    """An array as its bytes; a vocabulary is decoded only by who needs it."""

    #: :mod:`struct` letter of an element, or ``s`` for strings, each a u64 length and UTF-8.
    kind: str
    count: int
    raw: bytes
    #: For strings: where in ``raw`` each one's bytes begin, and one more entry for its end.
    starts: array[int] | None = None


class Metadata:
    """What the file says about the model, by key."""

    def __init__(self, path: Path, fields: Mapping[str, Scalar | ArrayField]) -> None:
        self._path = path
        self._fields = fields

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def field(self, key: str) -> Scalar | ArrayField | None:
        """The value as it stands, or ``None``."""
        return self._fields.get(key)

    def integer(self, key: str, default: T | _Required = _REQUIRED) -> int | T:
        """An integer.

        :raises ModelFormatError: absent with no default, or not an integer.
        """
        value = self._fields.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return self._fallback(key, value, default, "an integer")

    def number(self, key: str, default: T | _Required = _REQUIRED) -> float | T:
        """An integer or a float, as a float. Raises as :meth:`integer`."""
        value = self._fields.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        return self._fallback(key, value, default, "a number")

    def string(self, key: str, default: T | _Required = _REQUIRED) -> str | T:
        """A string. Raises as :meth:`integer`."""
        value = self._fields.get(key)
        if isinstance(value, str):
            return value
        return self._fallback(key, value, default, "a string")

    def flag(self, key: str, default: bool) -> bool:
        """A boolean. Raises as :meth:`integer`."""
        value = self._fields.get(key)
        if isinstance(value, bool):
            return value
        return self._fallback(key, value, default, "a boolean")

    def strings(self, key: str) -> list[str]:
        """An array of strings. Raises as :meth:`integer`."""
        raw, spans = self._strings(key)
        strings: list[str] = []
        append = strings.append
        try:
            for start, end in spans:
                append(raw[start:end].decode())
        except UnicodeDecodeError as error:
            raise ModelFormatError(
                f"{self._path}: entry {len(strings)} of {key} is not UTF-8.",
                hint="Convert the model again.",
            ) from error
        return strings

    def find_strings(self, key: str, wanted: frozenset[bytes]) -> list[int]:
        """Where in an array of strings any of ``wanted`` stands. Raises as :meth:`integer`."""
        raw, spans = self._strings(key)
        if not any(word in raw for word in wanted):
            return []
        return [index for index, (start, end) in enumerate(spans) if raw[start:end] in wanted]

    def _strings(self, key: str) -> tuple[bytes, Iterator[tuple[int, int]]]:
        value = self._fields.get(key)
        if not isinstance(value, ArrayField) or value.starts is None:
            raise self._wrong(key, value, "an array of strings")
        # A string's own length lies in the 8 bytes before the next one begins.
        starts = value.starts
        return value.raw, ((start, end - 8) for start, end in pairwise(starts))

    def integers(self, key: str) -> NDArray[Any]:
        """An array of integers or booleans, one-dimensional. Raises as :meth:`integer`."""
        return self._numeric(key, _INTEGERS, "an array of integers")

    def floats(self, key: str) -> NDArray[Any]:
        """An array of floats, one-dimensional. Raises as :meth:`integer`."""
        return self._numeric(key, _FLOATS, "an array of floats")

    def _numeric(self, key: str, kinds: str, wanted: str) -> NDArray[Any]:
        value = self._fields.get(key)
        if not isinstance(value, ArrayField) or value.kind not in kinds:
            raise self._wrong(key, value, wanted)
        return numpy.frombuffer(value.raw, dtype=f"<{value.kind}")

    def _fallback(self, key: str, value: object, default: T | _Required, wanted: str) -> T:
        if value is None and not isinstance(default, _Required):
            return default
        raise self._wrong(key, value, wanted)

    def _wrong(self, key: str, value: object, wanted: str) -> ModelFormatError:
        if value is None:
            return ModelFormatError(
                f"{self._path} does not have {key}.", hint="Convert the model again."
            )
        found = "an array" if isinstance(value, ArrayField) else repr(value)[:60]
        return ModelFormatError(
            f"{self._path}: {key} is {found}; {wanted} was expected.",
            hint="Convert the model again.",
        )
