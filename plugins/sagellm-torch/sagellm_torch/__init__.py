"""The kit that turns a torch device into a sagellm provider.

A vendor derives a :class:`DeviceAdapter`, and answers ``sagellm_load_model``,
``sagellm_open_runner`` and ``sagellm_open_embedder`` with :func:`load_model`,
:func:`open_runner` and :func:`open_embedder`. Names load on first
use: ``import sagellm_torch`` imports no torch, and :mod:`sagellm_torch.architecture` never
does, so that a plugin can answer ``sagellm_can_load`` without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .adapter import DeviceAdapter, DeviceMemory, DTypeChoice
    from .architecture import (
        SUPPORTED_ENCODER_TYPES,
        SUPPORTED_MODEL_TYPES,
        DecoderConfig,
        EncoderConfig,
        check_supported,
        is_encoder,
        read_decoder_config,
        read_encoder_config,
    )
    from .attention import AttentionConfig
    from .decoder import Decoder, StepDecoder
    from .embedding import TorchEmbedder, open_embedder
    from .embedding.embedder import TokenStates
    from .embedding.encoder import Encoder
    from .embedding.pack import Group
    from .kv_cache import CacheShape, KVCache
    from .linear import DenseLinear, Linear, ResidualLinear
    from .loading import load_model
    from .model import DecoderModel, EncoderModel, TorchModel
    from .runner import TorchRunner, open_runner
    from .step import DecodeStep, PrefillStep, Segment

_HOME = {
    "DTypeChoice": "adapter",
    "DeviceAdapter": "adapter",
    "DeviceMemory": "adapter",
    "SUPPORTED_ENCODER_TYPES": "architecture",
    "SUPPORTED_MODEL_TYPES": "architecture",
    "DecoderConfig": "architecture",
    "EncoderConfig": "architecture",
    "check_supported": "architecture",
    "is_encoder": "architecture",
    "read_decoder_config": "architecture",
    "read_encoder_config": "architecture",
    "AttentionConfig": "attention",
    "Decoder": "decoder",
    "StepDecoder": "decoder",
    "Encoder": "embedding.encoder",
    "TokenStates": "embedding.embedder",
    "TorchEmbedder": "embedding",
    "open_embedder": "embedding",
    "Group": "embedding.pack",
    "CacheShape": "kv_cache",
    "KVCache": "kv_cache",
    "DenseLinear": "linear",
    "Linear": "linear",
    "ResidualLinear": "linear",
    "load_model": "loading",
    "DecoderModel": "model",
    "EncoderModel": "model",
    "TorchModel": "model",
    "TorchRunner": "runner",
    "open_runner": "runner",
    "DecodeStep": "step",
    "PrefillStep": "step",
    "Segment": "step",
}

__all__ = [
    "SUPPORTED_ENCODER_TYPES",
    "SUPPORTED_MODEL_TYPES",
    "AttentionConfig",
    "CacheShape",
    "DTypeChoice",
    "DecodeStep",
    "Decoder",
    "DecoderConfig",
    "DecoderModel",
    "DenseLinear",
    "DeviceAdapter",
    "DeviceMemory",
    "Encoder",
    "EncoderConfig",
    "EncoderModel",
    "Group",
    "KVCache",
    "Linear",
    "PrefillStep",
    "ResidualLinear",
    "Segment",
    "StepDecoder",
    "TokenStates",
    "TorchEmbedder",
    "TorchModel",
    "TorchRunner",
    "check_supported",
    "is_encoder",
    "load_model",
    "open_embedder",
    "open_runner",
    "read_decoder_config",
    "read_encoder_config",
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
