"""The generator's configuration: one schema for keyword arguments, positional arguments and dicts.

The first sixteen fields have the names, the order and the defaults that SAGE's operator had, so
existing pipelines, positional callers included, keep working. The rest is keyword-only.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .contract import ConfigurationError, InvalidSamplingError
from .options import LIMITS, PromptFormat, check_options, check_timeout

#: The fields that may be passed by position.
POSITIONAL_FIELDS = (
    "backend_type",
    "model_path",
    "device_map",
    "dtype",
    "device",
    "load_in_8bit",
    "load_in_4bit",
    "trust_remote_code",
    "max_tokens",
    "max_new_tokens",
    "temperature",
    "top_p",
    "top_k",
    "engine_id",
    "timeout",
    "default_options",
)

#: Fields that are sampling options too, with the generator's own defaults.
_SAMPLING_FIELDS = (*LIMITS, "temperature", "top_p", "top_k")

#: As a ceiling on answers, more than this many tokens can only be a slip.
_LONGEST_ANSWER = 10_000_000


class GeneratorConfig(BaseModel):
    """Everything a :class:`~sagellm_core.SageLLMGenerator` is made from. Immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, protected_namespaces=(), title="generator.sagellm"
    )

    backend_type: str = Field("auto", description="A provider's name, or auto for the best one.")
    model_path: str = Field("", description="A model reference; see docs/models.md.")
    device_map: str = Field("auto", description="Accepted for compatibility; has no effect.")
    dtype: str = Field(
        "float16", description="What to compute in. Left alone, the device's own best choice."
    )
    device: str = Field(
        "cuda", description="Only an index counts, as in npu:1: which of the provider's devices."
    )
    load_in_8bit: bool = Field(False, description="The same as quantization: int8.")
    load_in_4bit: bool = Field(False, description="The same as quantization: int4.")
    trust_remote_code: bool = Field(
        False, description="Accepted for compatibility; code of a model is never run."
    )
    max_tokens: int = Field(2048, description="Most new tokens of an answer.")
    max_new_tokens: int = Field(
        128, description="The same by another name. Where both are set, the smaller counts."
    )
    temperature: float = Field(0.7, description="0 takes the most probable token each time.")
    top_p: float = Field(0.95, description="Nucleus sampling: probability to keep.")
    top_k: int = Field(50, description="Keep so many best tokens; 0 or -1 keeps all.")
    engine_id: str = Field("", description="A label of yours, repeated on each result.")
    timeout: float | None = Field(
        120.0, description="Seconds for one call once the model is loaded; null for no limit."
    )
    default_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of execute() that every call starts from."
    )

    prompt_format: PromptFormat = Field(
        "auto",
        description="chat: through the model's template; raw: as it is; auto: chat where it can.",
    )
    system_prompt: str | None = Field(
        None, description="A system message put before each prompt that has none."
    )
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
    max_model_len: int | None = Field(
        None, ge=2, description="Longest prompt and answer together, in tokens."
    )
    max_num_seqs: int = Field(16, ge=1, le=4096, description="Most requests computed at once.")
    max_prefill_tokens: int = Field(
        512, ge=1, description="Most prompt tokens in one step; longer prompts go in chunks."
    )
    max_waiting: int = Field(4096, ge=1, description="Most requests waiting in the queue.")
    block_size: int = Field(16, ge=1, le=1024, description="Tokens per block of the KV cache.")
    num_blocks: int | None = Field(None, ge=1, description="Blocks of the KV cache.")
    kv_memory_bytes: int | None = Field(None, ge=1, description="Bytes of the KV cache.")
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
    ) -> GeneratorConfig:
        """From a constructor's arguments; one mapping as the only positional is the whole of it.

        :raises ConfigurationError: an unknown key (with the nearest known one), a value of the
            wrong type, an argument given twice.
        :raises InvalidSamplingError: a sampling value outside its range.
        """
        values = _bind(args, kwargs or {})
        _check_keys(values, tuple(cls.model_fields))
        _check_sampling({key: values[key] for key in _SAMPLING_FIELDS if key in values})
        if "timeout" in values:
            check_timeout(values["timeout"])
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            raise _as_configuration_error(error) from None
        _check_sampling(config.default_options)
        if config.load_in_8bit and config.load_in_4bit:
            raise ConfigurationError(
                "load_in_8bit and load_in_4bit are both true.",
                hint='Keep one, or write quantization="int8" or "int4".',
            )
        by_flag = "int8" if config.load_in_8bit else "int4" if config.load_in_4bit else None
        if by_flag and config.quantization not in (None, by_flag):
            raise ConfigurationError(
                f"quantization={config.quantization!r} contradicts "
                f"load_in_{'8' if by_flag == 'int8' else '4'}bit=True.",
                hint="Keep one of the two.",
            )
        return config

    @property
    def wanted_quantization(self) -> str | None:
        """``quantization``, or what the ``load_in_*`` flags say."""
        if self.load_in_8bit:
            return "int8"
        if self.load_in_4bit:
            return "int4"
        return self.quantization

    @property
    def wanted_dtype(self) -> str:
        """``dtype`` where it was set, else ``auto``: the inherited default names no wish."""
        return self.dtype if "dtype" in self.model_fields_set else "auto"

    @property
    def device_index(self) -> int | None:
        """The index in ``device``, where one was written.

        :raises ConfigurationError: what follows the colon is no number.
        """
        if "device" not in self.model_fields_set or ":" not in self.device:
            return None
        index = self.device.rpartition(":")[2]
        if not (index.isascii() and index.isdigit()):
            raise ConfigurationError(
                f"device={self.device!r} does not end in a device number.",
                hint="Write it as in npu:0, or leave it out.",
            )
        return int(index)

    def call_options(self) -> dict[str, Any]:
        """The options that a call starts from: those of the constructor, then default_options."""
        options: dict[str, Any] = {key: getattr(self, key) for key in ("temperature", "top_p")}
        options["top_k"] = self.top_k
        # Only limits that someone set are limits; 2048 and 128 are what SAGE happened to have.
        limits = [getattr(self, key) for key in LIMITS if key in self.model_fields_set]
        if limits:
            options["max_tokens"] = min(limits)
        options["timeout"] = self.timeout
        options["prompt_format"] = self.prompt_format
        return options | self.default_options


def constructor_signature() -> inspect.Signature:
    """The signature of the generator's constructor, as ``help()`` and editors show it."""
    parameters = []
    for name, field in GeneratorConfig.model_fields.items():
        default = field.get_default(call_default_factory=True)
        kind = (
            inspect.Parameter.POSITIONAL_OR_KEYWORD
            if name in POSITIONAL_FIELDS
            else inspect.Parameter.KEYWORD_ONLY
        )
        parameters.append(
            inspect.Parameter(name, kind, default=default, annotation=field.annotation)
        )
    return inspect.Signature(parameters)


def _bind(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if args and isinstance(args[0], (Mapping, GeneratorConfig)):
        if len(args) > 1:
            raise ConfigurationError(
                "A configuration dict must be the only positional argument.",
                hint="Put the other values into the dict, or pass them by keyword.",
            )
        whole = args[0]
        # exclude_unset keeps "was it set by anyone" true to the original.
        values = (
            whole.model_dump(exclude_unset=True)
            if isinstance(whole, GeneratorConfig)
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


def _check_keys(values: Mapping[Any, Any], known: Sequence[str]) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise ConfigurationError(
                f"Unknown configuration key {key!r}.",
                hint=f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known)}.",
            )


def _check_sampling(values: Mapping[str, Any]) -> None:
    check_options(values)
    for key in LIMITS:
        # None passes as an option of a call, where it means no limit.
        limit = values.get(key)
        if limit is not None and limit > _LONGEST_ANSWER:
            raise InvalidSamplingError(
                f"{key}={limit} is longer than the context of any model.",
                hint=f"Use at most {_LONGEST_ANSWER}, or leave {key} out.",
            )


def _as_configuration_error(error: ValidationError) -> ConfigurationError:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    shown = repr(first["input"])
    if len(shown) > 60:
        shown = shown[:57] + "..."
    name = str(first["loc"][0]) if first["loc"] else ""
    field = GeneratorConfig.model_fields.get(name)
    about = f" {name}: {field.description}" if field is not None and field.description else ""
    return ConfigurationError(
        f"{key}={shown} ({type(first['input']).__name__}) is not valid: {first['msg']}.",
        hint=f"Correct that value.{about}",
    )
