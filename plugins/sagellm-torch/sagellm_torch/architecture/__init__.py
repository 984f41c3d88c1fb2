"""What a model's config says about its mathematics. Imports no torch.

``sagellm_can_load`` runs where torch must not be imported, and it has to answer by the same
rule that loading uses: so that rule lives here.
"""

from __future__ import annotations

from .decoder_config import DecoderConfig, LayerConfig
from .encoder_config import EncoderConfig
from .encoders import SUPPORTED_ENCODER_TYPES, is_encoder, read_encoder_config
from .families import SUPPORTED_MODEL_TYPES, check_supported, read_decoder_config
from .rope_config import RopeConfig, RopeKind

__all__ = [
    "SUPPORTED_ENCODER_TYPES",
    "SUPPORTED_MODEL_TYPES",
    "DecoderConfig",
    "EncoderConfig",
    "LayerConfig",
    "RopeConfig",
    "RopeKind",
    "check_supported",
    "is_encoder",
    "read_decoder_config",
    "read_encoder_config",
]
