"""The kit that turns a torch device into a sagellm provider.

A vendor derives a :class:`DeviceAdapter`, and answers ``sagellm_load_model`` and
``sagellm_open_runner`` with :func:`load_model` and :func:`open_runner`. Names load on first
use: ``import sagellm_torch`` imports no torch, and :mod:`sagellm_torch.architecture` never
does, so that a plugin can answer ``sagellm_can_load`` without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .adapter import DeviceAdapter, DeviceMemory, DTypeChoice
    from .architecture import (
        SUPPORTED_MODEL_TYPES,
        DecoderConfig,
        check_supported,
        read_decoder_config,
    )
    from .attention import AttentionConfig
    from .kv_cache import CacheShape, KVCache
    from .linear import DenseLinear, Linear
    from .loading import load_model
    from .model import TorchModel
    from .runner import TorchRunner, open_runner
    from .step import DecodeStep, PrefillStep, Segment

_HOME = {
    "DTypeChoice": "adapter",
    "DeviceAdapter": "adapter",
    "DeviceMemory": "adapter",
    "SUPPORTED_MODEL_TYPES": "architecture",
    "DecoderConfig": "architecture",
    "check_supported": "architecture",
    "read_decoder_config": "architecture",
    "AttentionConfig": "attention",
    "CacheShape": "kv_cache",
    "KVCache": "kv_cache",
    "DenseLinear": "linear",
    "Linear": "linear",
    "load_model": "loading",
    "TorchModel": "model",
    "TorchRunner": "runner",
    "open_runner": "runner",
    "DecodeStep": "step",
    "PrefillStep": "step",
    "Segment": "step",
}

__all__ = [
    "SUPPORTED_MODEL_TYPES",
    "AttentionConfig",
    "CacheShape",
    "DTypeChoice",
    "DecodeStep",
    "DecoderConfig",
    "DenseLinear",
    "DeviceAdapter",
    "DeviceMemory",
    "KVCache",
    "Linear",
    "PrefillStep",
    "Segment",
    "TorchModel",
    "TorchRunner",
    "check_supported",
    "load_model",
    "open_runner",
    "read_decoder_config",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
