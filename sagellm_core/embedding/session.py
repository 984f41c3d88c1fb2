"""What an embedding engine has once it is loaded: a provider, a model and an embedder over it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sagellm_core.contract import (
    BrokenProviderError,
    Capability,
    ConfigurationError,
    Embedder,
    EmbedderConfig,
    LoadedModel,
    LoadOptions,
    ProgressCallback,
)
from sagellm_core.engine.closing import closing, closing_quietly
from sagellm_core.models import describe
from sagellm_core.providers import Controls, Provider, choose_provider, load_provider
from sagellm_core.session import cache_directory

from .config import EmbeddingConfig

_log = logging.getLogger("sagellm")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSession:
    """An open embedder and the record of how it came to be."""

    embedder: Embedder
    model: LoadedModel
    #: name, dist, version, device, why, dtype, quantization, notes, pooling.
    provider: dict[str, Any]
    #: Seconds from the start of choosing to an open embedder.
    load_s: float
    # What the embedder says of itself, read once.
    dimension: int
    max_length: int
    normalizes: bool
    prompts: Mapping[str, str]

    def close(self) -> None:
        """Close the embedder and the model.

        :raises RunnerError: one of them failed; the other was closed all the same.
        """
        try:
            with closing("embedder"):
                self.embedder.close()
        finally:
            with closing("model"):
                self.model.close()


def open_session(
    config: EmbeddingConfig, on_progress: ProgressCallback | None = None
) -> EmbeddingSession:
    """Choose a provider that embeds, load the model, open the embedder.

    :raises SageLLMError: whichever stage failed, as its own type.
    """
    began = time.monotonic()
    choice = choose_provider(
        config.model_path,
        Controls.from_environment(
            backend=config.backend_type,
            disable=config.disable_plugins,
            allow_fallback=config.allow_fallback,
        ),
        capability=Capability.EMBED,
        describe=partial(describe, on_progress=on_progress),
        device_index=config.device_index,
    )
    provider = load_provider(choice)
    model = provider.load_model(
        LoadOptions(
            dtype=config.dtype,
            quantization=config.quantization,
            capability=Capability.EMBED,
            cache_dir=cache_directory(config.cache_dir),
            provider_options=config.provider_options,
            on_progress=on_progress,
        )
    )
    try:
        embedder = provider.open_embedder(
            model, EmbedderConfig(max_length=config.max_length, pooling=config.pooling)
        )
        try:
            session = _session(config, provider, model, embedder, began)
        except BaseException:
            with closing_quietly("embedder"):
                embedder.close()
            raise
    except BaseException:
        with closing_quietly("model"):
            model.close()
        raise
    _note_use(config.model_path)
    return session


def _session(
    config: EmbeddingConfig,
    provider: Provider,
    model: LoadedModel,
    embedder: Embedder,
    began: float,
) -> EmbeddingSession:
    dimension, max_length = embedder.dimension, embedder.max_length
    prompts = dict(embedder.prompts)
    texts = all(isinstance(each, str) for pair in prompts.items() for each in pair)
    for wrong, what in (
        (dimension < 1, f"Embedder.dimension is {dimension}"),
        (max_length < 1, f"Embedder.max_length is {max_length}"),
        (not texts, "Embedder.prompts holds something that is no text"),
    ):
        if wrong:
            entry = provider.choice.entry
            raise BrokenProviderError(
                f"{entry.title} broke the contract: {what}.",
                hint=f"Upgrade it: pip install -U {entry.dist}",
            )
    if config.max_length is not None and max_length != config.max_length:
        raise ConfigurationError(
            f"max_length={config.max_length} was asked for, and the model's limit is "
            f"{max_length} tokens.",
            hint=f"Use at most {max_length}, or leave it out.",
        )
    stamp = {
        **provider.stamp(),
        "dtype": model.dtype,
        "quantization": model.quantization,
        "notes": list(model.notes),
        "pooling": embedder.pooling,
    }
    return EmbeddingSession(
        embedder=embedder,
        model=model,
        provider=stamp,
        load_s=time.monotonic() - began,
        dimension=dimension,
        max_length=max_length,
        normalizes=embedder.normalizes,
        prompts=prompts,
    )


def _note_use(reference: str) -> None:
    """Note in the registry when the model was used last, where it is registered."""
    from sagellm_core.models.registry import ModelRegistryError, touch_model

    try:
        touch_model(reference)
    except ModelRegistryError as error:
        # A registry that cannot be written is no reason not to embed.
        _log.debug("the registry was not told that %s is in use: %s", reference, error)
