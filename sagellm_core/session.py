"""What a generator has once it is loaded: a provider, a model and an engine over them."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from .config import GeneratorConfig
from .contract import (
    ConfigurationError,
    Engine,
    EngineConfig,
    LoadedModel,
    LoadOptions,
    ProgressCallback,
)
from .engine import EngineClient, LLMEngine
from .engine.closing import closing, closing_quietly
from .engine.process import HomeProcess
from .models import ModelRegistryError, describe, touch_model
from .providers import Controls, choose_provider, load_provider

_log = logging.getLogger("sagellm")


@dataclass(frozen=True, slots=True)
class Session:
    """An open engine and the record of how it came to be."""

    engine: Engine
    model: LoadedModel
    client: EngineClient
    #: The stamp on every result: name, dist, version, device, why, dtype, quantization, notes.
    provider: dict[str, Any]
    #: Seconds from the start of choosing to a ready engine.
    load_s: float
    home: HomeProcess = field(default_factory=HomeProcess)

    def close(self) -> None:
        """Close the engine and the model. May be called twice; in a forked child it does nothing.

        :raises EngineError: one of them failed; the other was closed all the same.
        """
        if self.home.left:
            return  # both are the parent's, and so is the device
        try:
            with closing("engine"):
                self.engine.close()
        finally:
            # An engine of the vendor's own leaves the model open.
            with closing("model"):
                self.model.close()


def open_session(config: GeneratorConfig, on_progress: ProgressCallback | None = None) -> Session:
    """Choose a provider, load the model, open the engine.

    :raises SageLLMError: whichever stage failed, as its own type.
    """
    began = time.monotonic()
    if config.trust_remote_code:
        _log.warning("trust_remote_code=True has no effect: code of a model is never run")
    controls = Controls.from_environment(
        backend=config.backend_type,
        disable=config.disable_plugins,
        allow_fallback=config.allow_fallback,
        # The configuration has heard SAGELLM_BACKEND already. A generator that was pickled must
        # not come to mean another backend in a process with another environment.
    )._replace(backend=config.backend_type.strip() or "auto")
    choice = choose_provider(
        config.model_path,
        controls,
        describe=partial(describe, on_progress=on_progress),
        device_index=config.device_index,
    )
    provider = load_provider(choice)
    model = provider.load_model(
        LoadOptions(
            dtype=config.wanted_dtype,
            quantization=config.wanted_quantization,
            cache_dir=cache_directory(config.cache_dir),
            provider_options=config.provider_options,
            on_progress=on_progress,
        )
    )
    try:
        if config.max_model_len is not None and config.max_model_len > model.max_model_len:
            raise ConfigurationError(
                f"max_model_len={config.max_model_len} is more than the model's context of "
                f"{model.max_model_len} tokens.",
                hint=f"Use at most {model.max_model_len}, or leave it out.",
            )
        engine = LLMEngine.open(
            provider,
            model,
            EngineConfig(
                max_model_len=config.max_model_len,
                max_num_seqs=config.max_num_seqs,
                max_prefill_tokens=config.max_prefill_tokens,
                max_waiting=config.max_waiting,
                block_size=config.block_size,
                num_blocks=config.num_blocks,
                kv_memory_bytes=config.kv_memory_bytes,
                prefix_cache=config.prefix_cache,
            ),
        )
    except BaseException:
        with closing_quietly("model"):
            model.close()
        raise
    stamp = {
        **provider.stamp(),
        "dtype": model.dtype,
        "quantization": model.quantization,
        "notes": list(model.notes),
    }
    _note_use(config.model_path)
    return Session(engine, model, EngineClient(engine), stamp, time.monotonic() - began)


def _note_use(reference: str) -> None:
    """Let the registry know that a model of its is used; one that it does not know is fine."""
    try:
        touch_model(reference)
    except ModelRegistryError as error:
        # As where it is read-only: when a model was used last is no reason not to use it.
        _log.debug("the use of %s could not be noted: %s", reference, error)


def cache_directory(configured: str | None = None) -> Path | None:
    """Where converted files are kept.

    The configured directory, or ``$SAGELLM_CACHE_DIR``, or ``sagellm`` below
    ``$XDG_CACHE_HOME`` or ``~/.cache``. It need not exist.

    :returns: ``None``, nowhere, for a user without a home directory who set none of these.
    :raises ConfigurationError: the directory is in the home of an unknown user, or no path.
    """
    chosen = configured or os.environ.get("SAGELLM_CACHE_DIR")
    if chosen:
        name = "cache_dir" if configured else "SAGELLM_CACHE_DIR"
        hint = "Write the directory out in full, or leave it out."
        if "\0" in chosen:
            raise ConfigurationError(f"{name}={chosen!r} has a NUL character.", hint=hint)
        try:
            return Path(chosen).expanduser()
        except RuntimeError as error:
            raise ConfigurationError(
                f"{name}={chosen!r} is in a home directory that cannot be found.", hint=hint
            ) from error
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "sagellm"
    try:
        return Path.home() / ".cache" / "sagellm"
    except RuntimeError:  # as in a container whose user id has no entry in passwd
        return None
