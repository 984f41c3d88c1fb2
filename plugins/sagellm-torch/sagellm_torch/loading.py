"""Loading a model onto a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from sagellm_core.contract import (
    Capability,
    ConfigurationError,
    InsufficientMemoryError,
    LoadOptions,
    ModelDescription,
    ModelFormat,
    UnsupportedOptionError,
)

from .adapter import DTYPES, DeviceAdapter, DTypeChoice
from .architecture import DecoderConfig, is_encoder, read_decoder_config, read_encoder_config
from .broad import check_broad, is_broad
from .broad.model import BroadModel
from .checkpoint import Checkpoint, open_checkpoint
from .decoder import Decoder
from .device_errors import fitting_errors
from .model import DecoderModel, EncoderModel, TorchModel
from .purpose import made_to_embed
from .quantization import QuantizationPlan
from .tokenization import load_tokenizer
from .tokenization.tokenizer import FastTokenizer
from .weights import HEAD, load_weights

#: What ``quantization`` may be, beside ``none``; a device offers some of it.
_QUANTIZATIONS = ("int8", "int4")
#: A weight whose type stands for most others'.
_TYPICAL = "model.layers.0.mlp.down_proj.weight"


def load_model(
    description: ModelDescription, adapter: DeviceAdapter, options: LoadOptions
) -> TorchModel:
    """Load weights and tokenizer.

    :raises ConfigurationError: an option is unknown; :class:`UnsupportedOptionError`: it is
        known and not offered.
    :raises UnsupportedModelError: the architecture is not covered; it is named.
    :raises ModelFormatError: files or tensors are missing, damaged or of a wrong shape.
    :raises InsufficientMemoryError: the weights do not fit; found out before reading them.
    :raises DeviceLostError: the device is gone.
    """
    _check_options(options, adapter)
    if description.format is ModelFormat.SAFETENSORS and is_encoder(description.model_type):
        return _load_encoder(description, adapter, options)
    if description.format is ModelFormat.SAFETENSORS and is_broad(description.model_type):
        return _load_broad(description, adapter, options)
    return _load_decoder(description, adapter, options)


def _load_decoder(
    description: ModelDescription, adapter: DeviceAdapter, options: LoadOptions
) -> DecoderModel:
    checkpoint = open_checkpoint(description)
    try:
        config = read_decoder_config(checkpoint.config)
        choice = _choose_dtype(description, adapter, options)
        count = config.parameter_count
        if not config.tie_word_embeddings and HEAD not in checkpoint.names():
            count -= config.embedding_count
        plan = _plan(description, options, adapter, count)
        needed = _bytes(checkpoint, config, count, adapter, choice.dtype, plan)
        memory = adapter.memory()
        if memory is not None and needed > memory.free and adapter.settle():
            needed = _bytes(checkpoint, config, count, adapter, choice.dtype, plan)
        _check_memory(description, adapter, _kept_as(choice.dtype, plan), needed)
        with _loading(description, adapter, options, count * choice.dtype.itemsize) as report:
            weights = adapter.restore_weights(description, config, plan)
            if weights is None:
                weights = load_weights(checkpoint, config, adapter, choice.dtype, plan, report)
                adapter.keep_weights(description, config, plan, weights)
        eos = _eos_token_ids(checkpoint.generation_config, checkpoint.config)
    finally:
        checkpoint.close()
    return DecoderModel(
        description=description,
        tokenizer=load_tokenizer(description, options.cache_dir),
        decoder=Decoder(config, weights, adapter),
        adapter=adapter,
        dtype=choice.dtype,
        eos_token_ids=eos,
        notes=(*((choice.note,) if choice.note else ()), *plan.notes()),
        quantization=plan.used,
    )


def _plan(
    description: ModelDescription, options: LoadOptions, adapter: DeviceAdapter, parameters: int
) -> QuantizationPlan:
    name = options.quantization
    if name is None:
        embeds = options.capability == Capability.EMBED or made_to_embed(description)
        name = "none" if embeds else adapter.default_quantization(parameters)
    return QuantizationPlan(name, keeps_codes=adapter.keeps_codes)


def _bytes(
    checkpoint: Checkpoint,
    config: DecoderConfig,
    count: int,
    adapter: DeviceAdapter,
    dtype: torch.dtype,
    plan: QuantizationPlan,
) -> int:
    """What the weights take, about: scales, biases and norms are few."""
    stored = checkpoint.stored_type(_TYPICAL) if _TYPICAL in checkpoint.names() else ""
    each = adapter.bytes_per_weight(dtype, plan, stored)
    head = config.embedding_count * dtype.itemsize
    if config.tie_word_embeddings:
        # What is kept as codes is looked up in and multiplied with as such.
        coded = each < dtype.itemsize
        return int(count * each) + (0 if coded else adapter.linear_copies(head, shared=True))
    # An embedding of its own is looked up in, and kept as it is.
    return int((count - config.embedding_count) * each) + head


def _load_encoder(
    description: ModelDescription, adapter: DeviceAdapter, options: LoadOptions
) -> EncoderModel:
    from .embedding.encoder import Encoder
    from .embedding.encoder_weights import load_encoder_weights
    from .embedding.opening import ENCODER_POOLING
    from .embedding.recipe import read_recipe

    int8 = _encoder_int8(options, adapter)
    checkpoint = open_checkpoint(description)
    try:
        config = read_encoder_config(checkpoint.config)
        recipe = read_recipe(description, default_pooling=ENCODER_POOLING)
        choice = _choose_dtype(description, adapter, options)
        total = config.parameter_count * choice.dtype.itemsize
        _check_memory(description, adapter, _name(choice.dtype), total)
        with _loading(description, adapter, options, total) as report:
            weights = load_encoder_weights(
                checkpoint, config, adapter, choice.dtype, report, int8=int8
            )
    finally:
        checkpoint.close()
    tokenizer = load_tokenizer(description, options.cache_dir)
    if recipe.lower_case and isinstance(tokenizer, FastTokenizer):
        tokenizer.lower_case()
    return EncoderModel(
        description=description,
        tokenizer=tokenizer,
        encoder=Encoder(config, weights, adapter),
        recipe=recipe,
        adapter=adapter,
        dtype=choice.dtype,
        notes=(choice.note,) if choice.note else (),
        quantization="int8" if int8 else "none",
    )


def _encoder_int8(options: LoadOptions, adapter: DeviceAdapter) -> bool:
    asked = options.quantization
    if asked in (None, "none"):
        return False
    if asked not in adapter.encoder_quantizations:
        offered = ", ".join(("none", *adapter.encoder_quantizations))
        raise UnsupportedOptionError(
            f"quantization={asked!r} is not offered for models that only embed.",
            hint=f"For them this provider offers: {offered}.",
        )
    return asked == "int8"


def _load_broad(
    description: ModelDescription, adapter: DeviceAdapter, options: LoadOptions
) -> BroadModel:
    from .broad.loading import load_broad_decoder

    check_broad(description.config)
    if options.quantization not in (None, "none"):
        raise UnsupportedOptionError(
            f"quantization={options.quantization!r} is not offered for {description.model_type!r} "
            "models, which run through transformers.",
            hint="Leave it out, or pass none.",
        )
    # Opened for what it refuses: pickles, damaged, incomplete and quantised files.
    checkpoint = open_checkpoint(description)
    eos = _eos_token_ids(checkpoint.generation_config, checkpoint.config)
    checkpoint.close()
    choice = _choose_dtype(description, adapter, options)
    total = (description.parameter_count or 0) * choice.dtype.itemsize
    _check_memory(description, adapter, _name(choice.dtype), total)
    with _loading(description, adapter, options, total):
        decoder = load_broad_decoder(description, adapter, choice.dtype)
    return BroadModel(
        description=description,
        tokenizer=load_tokenizer(description, options.cache_dir),
        decoder=decoder,
        adapter=adapter,
        dtype=choice.dtype,
        eos_token_ids=eos,
        notes=(choice.note,) if choice.note else (),
    )


@contextmanager
def _loading(
    description: ModelDescription, adapter: DeviceAdapter, options: LoadOptions, total: int
) -> Iterator[Callable[[int], None]]:
    """Report progress, running out of memory and a lost device, while weights are read."""
    progress = _Progress(options, total)
    what = f"Memory ran out while loading {description.reference!r} ({_gib(total)} of weights)"
    # Not inference mode: it is a thread's own, and a checkpoint may read in several.
    with torch.no_grad(), fitting_errors(adapter, what, "Free memory, or use a smaller model."):
        yield progress.add
    progress.finish()


def _choose_dtype(
    description: ModelDescription, adapter: DeviceAdapter, options: LoadOptions
) -> DTypeChoice:
    return adapter.choose_dtype(options.dtype, DTYPES.get(description.weight_dtype))


def _check_options(options: LoadOptions, adapter: DeviceAdapter) -> None:
    if options.dtype != "auto" and options.dtype not in DTYPES:
        raise ConfigurationError(
            f"dtype={options.dtype!r} is not known.",
            hint=f"dtype is one of: auto, {', '.join(DTYPES)}.",
        )
    asked = options.quantization
    if asked in (None, "none"):
        return
    if asked not in _QUANTIZATIONS:
        raise ConfigurationError(
            f"quantization={asked!r} is not known.",
            hint=f"quantization is one of: none, {', '.join(_QUANTIZATIONS)}.",
        )
    if asked not in adapter.quantizations:
        offered = ", ".join(("none", *adapter.quantizations))
        raise UnsupportedOptionError(
            f"quantization={asked!r} is not offered by this provider.",
            hint=f"It offers: {offered}. A GGUF file is loaded as it is.",
        )


def _check_memory(
    description: ModelDescription, adapter: DeviceAdapter, kept_as: str, needed: int
) -> None:
    memory = adapter.memory()
    if memory is not None and needed > memory.free:
        smaller = [name for name in adapter.quantizations if name != kept_as]
        asked = f", or pass quantization={smaller[-1]!r}" if smaller else ""
        raise InsufficientMemoryError(
            f"{description.reference!r} needs {_gib(needed)} for its weights in {kept_as}; "
            f"{_gib(memory.free)} of {_gib(memory.total)} are free.",
            hint=f"Free memory{asked}, or use a smaller model.",
        )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _kept_as(dtype: torch.dtype, plan: QuantizationPlan) -> str:
    return _name(dtype) if plan.exact else plan.name


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
