"""Loading a model onto a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sagellm_core.contract import (
    ConfigurationError,
    InsufficientMemoryError,
    LoadOptions,
    ModelDescription,
    UnsupportedOptionError,
)

from .adapter import DTYPES, DeviceAdapter
from .architecture import DecoderConfig, read_decoder_config
from .checkpoint import open_checkpoint
from .decoder import Decoder
from .memory_errors import is_memory_error
from .model import TorchModel
from .tokenization import load_tokenizer
from .weights import load_weights


def load_model(
    description: ModelDescription, adapter: DeviceAdapter, options: LoadOptions
) -> TorchModel:
    """Load weights and tokenizer.

    :raises ConfigurationError: an option is unknown; :class:`UnsupportedOptionError`: it is
        known and not offered.
    :raises UnsupportedModelError: the architecture is not covered; it is named.
    :raises ModelFormatError: files or tensors are missing, damaged or of a wrong shape.
    :raises InsufficientMemoryError: the weights do not fit; found out before reading them.
    """
    _check_options(options)
    checkpoint = open_checkpoint(description)
    try:
        config = read_decoder_config(checkpoint.config)
        stored = DTYPES.get(description.weight_dtype)
        choice = adapter.choose_dtype(options.dtype, stored)
        total = config.parameter_count * choice.dtype.itemsize
        _check_memory(description, config, adapter, choice.dtype, total)
        report = _Progress(options, total)
        # Not inference mode: it is a thread's own, and a checkpoint may read in several.
        with torch.no_grad():
            try:
                weights = load_weights(checkpoint, config, adapter, choice.dtype, report.add)
            except (MemoryError, RuntimeError) as error:
                if not is_memory_error(error):
                    raise
                raise InsufficientMemoryError(
                    f"Memory ran out while loading {description.reference!r} "
                    f"({_gib(total)} of weights).",
                    hint="Free memory, or use a smaller model.",
                ) from error
        report.finish()
        eos = _eos_token_ids(checkpoint.generation_config, checkpoint.config)
    finally:
        checkpoint.close()
    return TorchModel(
        description=description,
        tokenizer=load_tokenizer(description, options.cache_dir),
        decoder=Decoder(config, weights, adapter),
        adapter=adapter,
        dtype=choice.dtype,
        eos_token_ids=eos,
        notes=(choice.note,) if choice.note else (),
    )


def _check_options(options: LoadOptions) -> None:
    if options.dtype != "auto" and options.dtype not in DTYPES:
        raise ConfigurationError(
            f"dtype={options.dtype!r} is not known.",
            hint=f"dtype is one of: auto, {', '.join(DTYPES)}.",
        )
    if options.quantization not in (None, "none"):
        raise UnsupportedOptionError(
            f"quantization={options.quantization!r} is not offered by this provider.",
            hint="Leave it out; a GGUF file is loaded as it is.",
        )


def _check_memory(
    description: ModelDescription,
    config: DecoderConfig,
    adapter: DeviceAdapter,
    dtype: torch.dtype,
    weight_bytes: int,
) -> None:
    memory = adapter.memory()
    if memory is None:
        return
    head = config.embedding_count * dtype.itemsize
    needed = weight_bytes + adapter.linear_copies(head, shared=config.tie_word_embeddings)
    if needed > memory.free:
        raise InsufficientMemoryError(
            f"{description.reference!r} needs {_gib(needed)} for its weights in "
            f"{str(dtype).removeprefix('torch.')}; {_gib(memory.free)} of {_gib(memory.total)} "
            "are free.",
            hint="Free memory, or use a smaller model.",
        )


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"


def _eos_token_ids(*sources: Mapping[str, Any]) -> frozenset[int]:
    """``eos_token_id`` of the first source that has one: an id or a list of them."""
    for source in sources:
        value = source.get("eos_token_id")
        ids = value if isinstance(value, (list, tuple)) else (value,)
        found = frozenset(i for i in ids if isinstance(i, int) and not isinstance(i, bool))
        if found:
            return found
    return frozenset()


class _Progress:
    """Reports bytes of weights that were read; biases and norms may exceed the estimate."""

    def __init__(self, options: LoadOptions, total: int) -> None:
        self._tell = options.on_progress
        self._total = total
        self._done = 0
        if self._tell is not None:
            self._tell("loading weights", 0, total)

    def add(self, count: int) -> None:
        self._done = min(self._done + count, self._total)
        if self._tell is not None:
            self._tell("loading weights", self._done, self._total)

    def finish(self) -> None:
        if self._tell is not None and self._done < self._total:
            self._tell("loading weights", self._total, self._total)
