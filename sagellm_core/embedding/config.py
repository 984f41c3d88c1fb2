"""An embedding engine's configuration: one schema for keyword arguments and dicts."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sagellm_core.config.schema import device_number
from sagellm_core.contract import ConfigurationError

#: The fields that may be passed by position.
POSITIONAL_FIELDS = ("backend_type", "model_path")


class EmbeddingConfig(BaseModel):
    """Everything an :class:`~sagellm_core.EmbeddingEngine` is made from. Immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, protected_namespaces=(), title="embedding"
    )

    backend_type: str = Field("auto", description="A provider's name, or auto for the best one.")
    model_path: str = Field("", description="A model reference; see docs/models.md.")
    pooling: str | None = Field(
        None, description="mean, last, cls or max; null for what the model's files say."
    )
    max_length: int | None = Field(
        None, ge=1, description="Longest input in tokens; null for the model's own limit."
    )
    truncate: bool = Field(
        True, description="Cut longer inputs, with a warning; false refuses them instead."
    )
    batch_size: int = Field(256, ge=1, le=65536, description="Most texts computed at once.")
    max_batch_tokens: int = Field(
        16384, ge=1, description="Most tokens computed at once; one longer text goes alone."
    )
    device: str = Field(
        "auto", description="Only an index counts, as in gpu:1: which of the provider's devices."
    )
    dtype: str = Field("auto", description="What to compute in; auto is the device's own choice.")
    quantization: Literal["none", "int8", "int4"] | None = Field(
        None, description="How weights are kept; null keeps what the provider does best."
    )
    provider_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the provider's own."
    )
    allow_fallback: bool = Field(
        False, description="Let auto pass over a provider whose hardware is there but broken."
    )
    disable_plugins: tuple[str, ...] = Field((), description="Providers not to consider.")
    cache_dir: str | None = Field(
        None, description="Where converted files are kept; null for the user's cache directory."
    )

    @field_validator("model_path", "cache_dir", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @field_validator("disable_plugins", mode="before")
    @classmethod
    def _list_as_tuple(cls, value: Any) -> Any:
        # YAML and JSON have lists only.
        return tuple(value) if isinstance(value, list) else value

    @classmethod
    def from_arguments(
        cls, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> EmbeddingConfig:
        """From a constructor's arguments; one mapping as the only positional is the whole of it.

        :raises ConfigurationError: an unknown key (with the nearest known one), a value of the
            wrong type, an argument given twice.
        """
        values = _bind(args, kwargs or {})
        known = tuple(cls.model_fields)
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                raise ConfigurationError(
                    f"Unknown configuration key {key!r}.",
                    hint=f"Did you mean {near[0]!r}?"
                    if near
                    else f"Known keys: {', '.join(known)}.",
                )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _as_configuration_error(error) from None

    @property
    def device_index(self) -> int | None:
        """The index in ``device``, where one was written.

        :raises ConfigurationError: what follows the colon is no number.
        """
        return device_number(self.device)


def constructor_signature() -> inspect.Signature:
    """The signature of the engine's constructor, as ``help()`` and editors show it."""
    kinds = {True: inspect.Parameter.POSITIONAL_OR_KEYWORD, False: inspect.Parameter.KEYWORD_ONLY}
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                kinds[name in POSITIONAL_FIELDS],
                default=field.get_default(call_default_factory=True),
                annotation=field.annotation,
            )
            for name, field in EmbeddingConfig.model_fields.items()
        ]
    )


def _bind(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if args and isinstance(args[0], (Mapping, EmbeddingConfig)):
        if len(args) > 1:
            raise ConfigurationError(
                "A configuration dict must be the only positional argument.",
                hint="Put the other values into the dict, or pass them by keyword.",
            )
        whole = args[0]
        values = (
            whole.model_dump(exclude_unset=True)
            if isinstance(whole, EmbeddingConfig)
            else dict(whole)
        )
    else:
        if len(args) > len(POSITIONAL_FIELDS):
            raise ConfigurationError(
                f"{len(args)} positional arguments were given; there are {len(POSITIONAL_FIELDS)}.",
                hint="Pass the others by keyword.",
            )
        values = dict(zip(POSITIONAL_FIELDS, args, strict=False))
    twice = sorted(set(values) & set(kwargs), key=str)
    if twice:
        raise ConfigurationError(f"{twice[0]} was given twice.", hint="Give each argument once.")
    return values | dict(kwargs)


def _as_configuration_error(error: ValidationError) -> ConfigurationError:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    shown = repr(first["input"])
    if len(shown) > 60:
        shown = f"{shown[:57]}..."
    field = EmbeddingConfig.model_fields.get(str(first["loc"][0])) if first["loc"] else None
    about = f" {first['loc'][0]}: {field.description}" if field is not None else ""
    return ConfigurationError(
        f"{key}={shown} ({type(first['input']).__name__}) is not valid: {first['msg']}.",
        hint=f"Correct that value.{about}",
    )
