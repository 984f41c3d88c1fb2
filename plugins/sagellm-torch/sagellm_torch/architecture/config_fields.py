"""Typed reading of a config dictionary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sagellm_core.contract.errors import ModelFormatError

#: Larger sizes than this are damage, not models; multiplying them would overflow memory.
_LARGEST = 2**40

#: Layers are described one by one, so a damaged number of them would fill the memory.
_MOST_LAYERS = 10_000


class ConfigFields:
    """A config's fields by name. A value of the wrong type is an error that names the field.

    ``None`` counts as absent, as it does in config.json files.
    """

    def __init__(self, config: Mapping[str, Any], *, where: str = "config") -> None:
        self._config = config
        self._where = where

    @property
    def model_type(self) -> str:
        """The ``model_type``, for messages."""
        return str(self._config.get("model_type", "?"))

    def has(self, name: str) -> bool:
        """Whether the field is there and not ``None``."""
        return self._config.get(name) is not None

    def integer(self, name: str, default: int | None = None) -> int:
        """A positive integer.

        :raises ModelFormatError: it is missing (and there is no default) or not one.
        """
        value = self._config.get(name)
        if value is None:
            value = default
        if value is None:
            raise self._missing(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _LARGEST:
            raise self._wrong(name, value, "a positive integer")
        return value

    @property
    def layer_count(self) -> int:
        """The number of layers.

        :raises ModelFormatError: it is missing, or no number of layers that a model has.
        """
        count = self.integer("num_hidden_layers")
        if count > _MOST_LAYERS:
            raise self._wrong("num_hidden_layers", count, f"at most {_MOST_LAYERS}")
        return count

    def optional_integer(self, name: str) -> int | None:
        """A positive integer, or ``None`` when absent."""
        return self.integer(name) if self.has(name) else None

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        value = self._config.get(name)
        if value is None:
            value = default
        if value is None:
            raise self._missing(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(name, value, "a number")
        if not math.isfinite(value):
            raise self._wrong(name, value, "a finite number")
        return float(value)

    def positive(self, name: str, default: float | None = None) -> float:
        """A finite number above 0."""
        value = self.number(name, default)
        if value <= 0:
            raise self._wrong(name, value, "a number above 0")
        return value

    def stretch(self, name: str) -> float:
        """A finite number of at least 1: how many times longer a context becomes."""
        value = self.number(name)
        if value < 1:
            raise self._wrong(name, value, "a number of at least 1")
        return value

    def optional_number(self, name: str) -> float | None:
        """A finite number above 0, or ``None`` when absent."""
        return self.positive(name) if self.has(name) else None

    def flag(self, name: str, default: bool) -> bool:
        """A boolean."""
        value = self._config.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def text(self, name: str, default: str) -> str:
        """A string."""
        value = self._config.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._wrong(name, value, "a string")
        return value

    def strings(self, name: str, length: int) -> tuple[str, ...] | None:
        """A list of ``length`` strings, or ``None`` when absent."""
        value = self._config.get(name)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            raise self._wrong(name, value, "a list of strings")
        if len(value) != length:
            raise self._wrong(name, value, f"a list of {length} strings")
        return tuple(value)

    def numbers(self, name: str, length: int) -> tuple[float, ...]:
        """A list of ``length`` positive numbers."""
        value = self._config.get(name)
        if value is None:
            raise self._missing(name)
        fine = isinstance(value, (list, tuple)) and all(
            isinstance(v, (int, float)) and not isinstance(v, bool) and v > 0 for v in value
        )
        if not fine or len(value) != length:
            raise self._wrong(name, value, f"a list of {length} numbers above 0")
        return tuple(float(v) for v in value)

    def _missing(self, name: str) -> ModelFormatError:
        return ModelFormatError(
            f"The model's {self._where} has no {name!r}.",
            hint="Use the config.json that was published with the weights.",
        )

    def _wrong(self, name: str, value: object, wanted: str) -> ModelFormatError:
        shown = repr(value)
        if len(shown) > 60:
            shown = shown[:57] + "..."
        return ModelFormatError(
            f"The model's {self._where} has {name}={shown}, which is not {wanted}.",
            hint="Use the config.json that was published with the weights.",
        )
