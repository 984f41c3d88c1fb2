"""The schema: every setting of a generator, whichever way it comes in.

The first sixteen fields have the names, the order and the defaults that SAGE's operator had, so
existing pipelines, positional callers included, keep working. The rest is keyword-only.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sagellm_core.contract import ConfigurationError
from sagellm_core.options import LIMITS, LONGEST_ANSWER, PromptFormat

#: The section of a ``config.yaml`` that holds these fields.
SECTION = "generator.sagellm"

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

#: Settings that are one wish under several names: whoever says one of them has said them all.
ONE_WISH = (
    frozenset(LIMITS),
    frozenset({"quantization", "load_in_8bit", "load_in_4bit"}),
    frozenset({"num_blocks", "kv_memory_bytes"}),
)


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
        "cuda", description="Only an index counts, as in gpu:1: which of the provider's devices."
    )
    load_in_8bit: bool = Field(False, description="The same as quantization: int8.")
    load_in_4bit: bool = Field(False, description="The same as quantization: int4.")
    trust_remote_code: bool = Field(
        False, description="Accepted for compatibility; code of a model is never run."
    )
    max_tokens: int = Field(
        2048,
        description="Most new tokens of an answer; unset, only the context limits it.",
        json_schema_extra={"minimum": 1, "maximum": LONGEST_ANSWER},
    )
    max_new_tokens: int = Field(
        128,
        description="max_tokens by another name. Where both are set, the smaller counts.",
        json_schema_extra={"minimum": 1, "maximum": LONGEST_ANSWER},
    )
    temperature: float = Field(
        0.7,
        description="0 takes the most probable token each time.",
        json_schema_extra={"minimum": 0},
    )
    top_p: float = Field(
        0.95,
        description="Nucleus sampling: probability to keep.",
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 1},
    )
    top_k: int = Field(
        50,
        description="Keep so many best tokens; 0 or -1 keeps all.",
        json_schema_extra={"minimum": -1},
    )
    engine_id: str = Field("", description="A label of yours, repeated on each result.")
    timeout: float | None = Field(
        120.0,
        description="Seconds for one call once the model is loaded; null for no limit.",
        json_schema_extra={"exclusiveMinimum": 0},
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
    prefix_cache: bool = Field(
        True,
        description="Keep what was computed of a prompt for requests that begin alike.",
    )
    cache_dir: str | None = Field(
        None, description="Where converted files are kept; null for the user's cache directory."
    )
    on_error: Literal["raise", "record"] = Field(
        "raise",
        description="What execute() does with an input that fails: raise, or record it as a "
        "result with error in it.",
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
        """From a constructor's arguments, ``SAGELLM_*`` variables and defaults, in this order.

        One mapping as the only positional argument is the whole of them. A ``GeneratorConfig``
        in its place was resolved before: the environment is not read again.

        :raises ConfigurationError: an unknown key (with the nearest known one), a value of the
            wrong type, an argument given twice, a variable that says nothing valid.
        :raises InvalidSamplingError: a sampling argument outside its range.
        """
        from .layers import resolve

        return resolve(args, kwargs).config

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
        return device_number(self.device) if "device" in self.model_fields_set else None

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


def device_number(device: str) -> int | None:
    """The index in a device's name, as in ``gpu:1``; ``None`` where there is no colon.

    :raises ConfigurationError: what follows the colon is no number.
    """
    if ":" not in device:
        return None
    index = device.rpartition(":")[2]
    # No machine has ten thousand devices, and int() refuses thousands of digits.
    if not (index.isascii() and index.isdigit() and len(index) <= 4):
        raise ConfigurationError(
            f"device={device[:60]!r} does not end in a device number.",
            hint="Write it as in gpu:0, or leave it out.",
        )
    return int(index)
