"""How much memory a model takes on an NPU. Imports no torch: it is asked while probing."""

from __future__ import annotations

from sagellm_torch import footprint
from sagellm_torch.architecture import is_encoder

from sagellm_core.contract import ModelDescription

_HALF = 2


def bytes_needed(model: ModelDescription) -> int | None:
    """Weights and a minimal KV cache; decoders run in half precision, whatever they are stored in.

    :returns: ``None`` where that cannot be told.
    :raises UnsupportedModelError: the config asks for something that is not computed.
    :raises ModelFormatError: the config is damaged.
    """
    exact = is_encoder(model.model_type)
    return footprint.bytes_needed(model, footprint.itemsize(model) if exact else _HALF)
