"""How much device memory a model takes. Imports no torch: it is asked while probing."""

from __future__ import annotations

from sagellm_core.contract import ModelDescription, ModelFormat

from .architecture import is_encoder, read_decoder_config, read_encoder_config
from .broad import is_broad

#: Tokens that a KV cache has to hold to be of any use.
MINIMAL_CONTEXT = 512
_ITEMSIZES = {"float32": 4, "float16": 2, "bfloat16": 2}


def itemsize(model: ModelDescription, otherwise: int = 2) -> int:
    """Bytes of a weight on a device that computes in the type of the checkpoint.

    :param otherwise: for types that are not computed in, such as the codes of a GGUF file.
    """
    return _ITEMSIZES.get(model.weight_dtype, otherwise)


def bytes_needed(model: ModelDescription, item: int) -> int | None:
    """Weights and a minimal KV cache, for a device that keeps both in one type.

    :param item: bytes of that type.
    :returns: ``None`` where that cannot be told.
    :raises UnsupportedModelError: the config asks for something that is not computed.
    :raises ModelFormatError: the config is damaged.
    """
    count = model.parameter_count
    if model.format is ModelFormat.SAFETENSORS and not is_broad(model.model_type):
        if is_encoder(model.model_type):
            return read_encoder_config(model.config).parameter_count * item
        config = read_decoder_config(model.config)
        return (config.parameter_count + config.kv_elements_per_token * MINIMAL_CONTEXT) * item
    # Sizes have other names in other configs; the parameters are counted.
    return None if count is None else count * item
