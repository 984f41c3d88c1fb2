"""An engine's limits, checked, and what they ask of a runner."""

from __future__ import annotations

from sagellm_core.contract import (
    ConfigurationError,
    EngineConfig,
    KVCapacity,
    LoadedModel,
    RunnerConfig,
)


def runner_config(model: LoadedModel, config: EngineConfig) -> RunnerConfig:
    """What a runner over ``model`` must offer for an engine with ``config``.

    :raises ConfigurationError: a limit is not a positive integer, or beyond the model.
    """
    check_limits(model, config)
    return RunnerConfig(
        max_slots=config.max_num_seqs,
        max_model_len=config.max_model_len or model.max_model_len,
        block_size=config.block_size,
        num_blocks=config.num_blocks,
        kv_memory_bytes=config.kv_memory_bytes,
        max_prefill_tokens=config.max_prefill_tokens,
    )


def check_limits(model: LoadedModel, config: EngineConfig) -> None:
    """Check an engine's limits against a model.

    :raises ConfigurationError: a limit is not a positive integer, or beyond the model.
    """
    for name, least in (
        ("max_num_seqs", 1),
        ("max_prefill_tokens", 1),
        ("max_waiting", 1),
        ("block_size", 1),
        ("max_model_len", 2),
        ("num_blocks", 1),
        ("kv_memory_bytes", 1),
    ):
        value = getattr(config, name)
        if value is None and name in ("max_model_len", "num_blocks", "kv_memory_bytes"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigurationError(
                f"{name}={value!r} is not valid.",
                hint=f"{name} must be an integer of at least {least}.",
            )
    if not isinstance(config.prefix_cache, bool):
        raise ConfigurationError(
            f"prefix_cache={config.prefix_cache!r} is not valid.",
            hint="prefix_cache is True or False.",
        )
    if config.max_model_len is not None and config.max_model_len > model.max_model_len:
        raise ConfigurationError(
            f"max_model_len={config.max_model_len} is more than the {model.max_model_len} tokens "
            "that the model was made for.",
            hint=f"Choose at most {model.max_model_len}, or leave it out.",
        )


def check_capacity(capacity: KVCapacity) -> None:
    """Check that the cache a runner allocated holds the shortest request.

    :raises ConfigurationError: it does not.
    """
    tokens = capacity.num_blocks * capacity.block_size
    if 0 < tokens < 2:
        raise ConfigurationError(
            f"The KV cache holds {tokens} token, and the shortest request is 2: one of a prompt "
            "and one of an answer.",
            hint="Raise num_blocks, block_size or kv_memory_bytes.",
        )
