"""Models: what their headers say, how they are loaded, and what loading gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .tokenizer import Tokenizer


class ModelFormat(StrEnum):
    """How a model lies on disk."""

    #: A Hugging Face directory: ``config.json`` and one or more ``*.safetensors``.
    SAFETENSORS = "safetensors"
    #: One GGUF file.
    GGUF = "gguf"
    #: Nothing was resolved: the provider declared :attr:`Capability.ANY_MODEL`.
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What core read from a model's headers; no weights were touched. JSON-serialisable."""

    #: What the user typed.
    reference: str
    format: ModelFormat
    #: The directory (safetensors) or file (GGUF); ``None`` when unresolved.
    path: Path | None = None
    #: ``model_type`` of config.json, or ``general.architecture`` of a GGUF: ``llama``, ...
    model_type: str = ""
    #: First of ``architectures`` in config.json (``LlamaForCausalLM``); empty for a GGUF.
    architecture: str = ""
    #: config.json as parsed, or the GGUF's metadata without its long arrays.
    config: Mapping[str, Any] = field(default_factory=dict)
    #: Weight files, in the order of the index.
    files: tuple[Path, ...] = ()
    #: Longest sequence in tokens that the model was made for; ``None`` when not stated.
    context_length: int | None = None
    vocab_size: int | None = None
    parameter_count: int | None = None
    #: Bytes of weights on disk.
    weight_bytes: int | None = None
    #: Type of most weights: ``float32``, ``bfloat16``, ``Q4_1``, ...
    weight_dtype: str = ""
    #: Hub revision, where there is one.
    revision: str = ""


class LoadVerdict(StrEnum):
    """Whether a plugin can load a model on a device."""

    YES = "yes"
    NO = "no"
    #: It cannot tell without trying; ranked after YES.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadAnswer:
    """The answer of ``sagellm_can_load``."""

    verdict: LoadVerdict
    #: One sentence; required unless the verdict is YES.
    reason: str = ""
    #: One sentence: what the user can do about the reason.
    hint: str = ""
    #: Device memory needed for weights and a minimal KV cache, in bytes; ``None``: unknown.
    bytes_needed: int | None = None
    #: What this model can be opened for, of the plugin's capabilities; ``None``: all of them. A
    #: sentence encoder, say, only embeds: ``frozenset({Capability.EMBED})``.
    capabilities: frozenset[str] | None = None


#: Called while loading with what is being done, and how much of it: (stage, done, total).
ProgressCallback = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How to load a model."""

    #: ``auto`` or a torch-style name. A device that has no use for the one asked for may
    #: compute in another, and says so in :attr:`LoadedModel.notes`.
    dtype: str = "auto"
    #: ``None`` (the provider's own choice: what is fastest without visible loss), or a name such
    #: as ``int8``. A provider that does not offer it raises :class:`UnsupportedOptionError`.
    quantization: str | None = None
    #: Which :class:`Capability` it is loaded for: ``generate`` or ``embed``. Defaults may differ.
    capability: str = "generate"
    #: Where converted files may be kept; may be missing or read-only: then nothing is kept.
    cache_dir: Path | None = None
    #: Options of the provider's own. Unknown keys raise :class:`ConfigurationError`.
    provider_options: Mapping[str, Any] = field(default_factory=dict)
    on_progress: ProgressCallback | None = None


@runtime_checkable
class LoadedModel(Protocol):
    """A model whose weights are in memory. Opened once, shared by the runners over it."""

    @property
    def description(self) -> ModelDescription:
        """The description that it was loaded from."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        ...

    @property
    def max_model_len(self) -> int:
        """Longest sequence, prompt and output together, in tokens."""
        ...

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """Ids that end a generation, from the model's generation config or header."""
        ...

    @property
    def dtype(self) -> str:
        """What it computes in, as ``float32``."""
        ...

    @property
    def quantization(self) -> str:
        """How weights are kept in memory: ``none``, ``int8``, ..."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions a user would want to know, one sentence each."""
        ...

    def close(self) -> None:
        """Give the memory back. May be called twice."""
        ...
