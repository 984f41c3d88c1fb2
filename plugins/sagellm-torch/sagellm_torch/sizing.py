"""How large the KV cache becomes."""

from __future__ import annotations

import torch

from sagellm_core.contract import InsufficientMemoryError, RunnerConfig

from .adapter import DeviceAdapter
from .architecture import DecoderConfig
from .broad.config import BroadConfig
from .kv_cache import CacheShape


def cache_shape(
    decoder: DecoderConfig | BroadConfig,
    config: RunnerConfig,
    adapter: DeviceAdapter,
    dtype: torch.dtype,
) -> CacheShape:
    """The cache that ``config`` asks for, or that fits.

    :raises InsufficientMemoryError: it does not fit, or holds less than one sequence of
        ``max_model_len`` tokens (unless ``num_blocks`` says so exactly).
    """
    block = _shape(decoder, config, dtype, 1).bytes_per_block
    memory = adapter.memory()
    if config.num_blocks is not None:
        shape = _shape(decoder, config, dtype, config.num_blocks)
        if memory is not None and shape.nbytes > memory.free:
            raise InsufficientMemoryError(
                f"A KV cache of {config.num_blocks} blocks needs {_size(shape.nbytes)}; "
                f"{_size(memory.free)} are free.",
                hint="Ask for fewer blocks, or leave their number to the runner.",
            )
        return shape
    blocks_for_one = -(-config.max_model_len // config.block_size)
    enough = config.max_slots * blocks_for_one * block
    if config.kv_memory_bytes is not None:
        budget, whose = config.kv_memory_bytes, "allowed by kv_memory_bytes"
        if memory is not None and budget > memory.free:
            raise InsufficientMemoryError(
                f"kv_memory_bytes asks for {_size(budget)}; {_size(memory.free)} are free.",
                hint="Ask for less, or leave the size to the runner.",
            )
    elif memory is None:
        budget, whose = blocks_for_one * block, "allowed"
    else:
        budget, whose = adapter.cache_budget(memory.free, enough), "a safe share of free memory"
    blocks = min(budget, enough) // block
    if blocks < blocks_for_one:
        raise InsufficientMemoryError(
            f"The KV cache of one sequence of {config.max_model_len} tokens needs "
            f"{_size(blocks_for_one * block)}; {_size(budget)} are {whose}.",
            hint=_hint(config, blocks, block, blocks_for_one * block),
        )
    return _shape(decoder, config, dtype, blocks)


def _hint(config: RunnerConfig, blocks: int, block: int, needed: int) -> str:
    """What to do about a cache of too few blocks, of ``block`` bytes each."""
    if config.kv_memory_bytes is None:
        more = "free memory"
    else:
        more = f"raise kv_memory_bytes to at least {needed if blocks else block}"
    if blocks:
        return f"Set max_model_len to at most {blocks * config.block_size}, or {more}."
    return f"{more[0].upper()}{more[1:]}: one block of {config.block_size} tokens takes that much."


def _shape(
    decoder: DecoderConfig | BroadConfig, config: RunnerConfig, dtype: torch.dtype, blocks: int
) -> CacheShape:
    return CacheShape(
        num_layers=decoder.num_layers,
        num_blocks=blocks,
        block_size=config.block_size,
        num_kv_heads=decoder.num_kv_heads,
        head_dim=decoder.head_dim,
        dtype=dtype,
    )


def _size(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count >= 2**20 else f"{count:,} bytes"
