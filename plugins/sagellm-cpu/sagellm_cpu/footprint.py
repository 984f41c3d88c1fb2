"""How much memory a model takes on the CPU. Imports no torch: it is asked while probing."""

from __future__ import annotations

from sagellm_torch.architecture import (
    DecoderConfig,
    is_encoder,
    read_decoder_config,
    read_encoder_config,
)
from sagellm_torch.broad import is_broad
from sagellm_torch.purpose import made_to_embed

from sagellm_core.contract import ModelDescription, ModelFormat

from .native.compiler import CompilerError, find_compiler

#: Weights and KV cache are float32.
BYTES_PER_ELEMENT = 4
#: A tied output layer gets a packed copy of its own up to this size; beyond it, the memory is
#: worth more than the quarter of that one product's time.
LARGEST_TIED_COPY = 512 * 2**20
#: Parameters from which on a decoder's weights are rounded to 8 bits when the user did not say.
WORTH_ROUNDING = 50_000_000
#: Tokens that a KV cache has to hold to be of any use.
_MINIMAL_CONTEXT = 512


def tied_copy_bytes(embedding_bytes: int) -> int:
    """Bytes of the copy of a tied output layer; 0 where it gets none."""
    return embedding_bytes if embedding_bytes <= LARGEST_TIED_COPY else 0


#: Bytes a weight of 4-bit codes, and of 8-bit codes with minima, each with float32 scales for 32.
_CODES4, _CODES8 = 0.5 + 8 / 32, 1 + 8 / 32
#: 8-bit codes with a float32 scale for 64, from floats.
_ROUNDED8 = 1 + 4 / 64
_KEPT = {"Q4_K": _CODES4, "Q5_K": _CODES8}
# Scales, and minima, of 16 bits stay what they are.
_KEPT |= {"Q4_0": 0.5 + 4 / 32, "Q4_1": 0.5 + 4 / 32}
_KEPT |= {"Q8_0": 1 + 2 / 32, "Q5_0": 1 + 4 / 32, "Q5_1": 1 + 4 / 32}
_HALVES = ("F16", "BF16")


def bytes_per_weight(quantization: str, stored: str, *, native: bool, codes: bool) -> float:
    """Bytes that each weight of a decoder's layers takes.

    :param quantization: ``none``, ``int8`` or ``int4``.
    :param stored: the type in the checkpoint, as ``Q4_K``.
    :param native: packed for the native kernels, which widen 16 bits themselves.
    :param codes: whether codes are kept at all.
    """
    kept = _KEPT.get(stored)
    if quantization == "int4" and (kept is None or kept >= 1):
        few = _CODES4
    elif kept is None:
        few = {"int8": _CODES8 if stored.startswith(("Q", "I")) else _ROUNDED8}.get(quantization, 0)
    else:
        few = kept
    if few and (codes or native):
        return few
    return 2 if native and stored in _HALVES else BYTES_PER_ELEMENT


def bytes_needed(model: ModelDescription) -> int | None:
    """Weights, as default settings keep them, and a minimal KV cache for a native decoder.

    :returns: ``None`` where that cannot be told.
    :raises UnsupportedModelError: the config asks for something that is not computed.
    :raises ModelFormatError: the config is damaged.
    """
    count = model.parameter_count
    if model.format is ModelFormat.GGUF:
        return None if count is None else _file_bytes(model, count)
    if is_broad(model.model_type):
        # Sizes have other names in each kind of config; the parameters are counted.
        return None if count is None else count * BYTES_PER_ELEMENT
    if is_encoder(model.model_type):
        return read_encoder_config(model.config).parameter_count * BYTES_PER_ELEMENT
    config = read_decoder_config(model.config)
    return _decoder_bytes(config, rounds=_rounds(model, config.parameter_count))


def _file_bytes(model: ModelDescription, count: int) -> int:
    floats = count * BYTES_PER_ELEMENT
    if not _rounds(model, count) or model.path is None:
        return floats
    try:
        # Scales of Q4_K take as much again as a third of the file.
        return min(floats, model.path.stat().st_size * 4 // 3)
    except OSError:
        return floats


def _decoder_bytes(config: DecoderConfig, *, rounds: bool) -> int:
    cache = config.kv_elements_per_token * _MINIMAL_CONTEXT * BYTES_PER_ELEMENT
    if rounds:
        table = 0 if config.tie_word_embeddings else config.embedding_count
        return int((config.parameter_count - table) * _ROUNDED8) + table * BYTES_PER_ELEMENT + cache
    needed = config.parameter_count * BYTES_PER_ELEMENT + cache
    if config.tie_word_embeddings:
        needed += tied_copy_bytes(config.embedding_count * BYTES_PER_ELEMENT)
    return needed


def _rounds(model: ModelDescription, parameters: int) -> bool:
    """Whether a decoder's weights become 8-bit ones when the user does not say."""
    if parameters < WORTH_ROUNDING or made_to_embed(model):
        return False
    try:
        find_compiler()
    except CompilerError:
        return False
    return True
