"""How much memory a model takes on the CPU. Imports no torch: it is asked while probing."""

from __future__ import annotations

from sagellm_torch.architecture import (
    DecoderConfig,
    is_encoder,
    read_decoder_config,
    read_encoder_config,
)
from sagellm_torch.broad import is_broad

from sagellm_core.contract import ModelDescription, ModelFormat

#: Weights and KV cache are float32.
BYTES_PER_ELEMENT = 4
#: A tied output layer gets a packed copy of its own up to this size; beyond it, the memory is
#: worth more than the quarter of that one product's time.
LARGEST_TIED_COPY = 512 * 2**20
#: Tokens that a KV cache has to hold to be of any use.
_MINIMAL_CONTEXT = 512


def tied_copy_bytes(embedding_bytes: int) -> int:
    """Bytes of the copy of a tied output layer; 0 where it gets none."""
    return embedding_bytes if embedding_bytes <= LARGEST_TIED_COPY else 0


def bytes_needed(model: ModelDescription) -> int | None:
    """Weights, and a minimal KV cache for a native decoder; ``None`` where that cannot be told.

    :raises UnsupportedModelError: the config asks for something that is not computed.
    :raises ModelFormatError: the config is damaged.
    """
    if model.format is ModelFormat.GGUF or is_broad(model.model_type):
        # Sizes have other names in each kind of config; the parameters are counted.
        count = model.parameter_count
        return None if count is None else count * BYTES_PER_ELEMENT
    if is_encoder(model.model_type):
        return read_encoder_config(model.config).parameter_count * BYTES_PER_ELEMENT
    return _decoder_bytes(read_decoder_config(model.config))


def _decoder_bytes(config: DecoderConfig) -> int:
    cache = config.kv_elements_per_token * _MINIMAL_CONTEXT
    needed = (config.parameter_count + cache) * BYTES_PER_ELEMENT
    if config.tie_word_embeddings:
        needed += tied_copy_bytes(config.embedding_count * BYTES_PER_ELEMENT)
    return needed
