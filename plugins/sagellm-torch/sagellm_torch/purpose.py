"""What a model can be opened for, from its headers. Imports no torch."""

from __future__ import annotations

from collections.abc import Set

from sagellm_core.contract import (
    Capability,
    ModelDescription,
    ModelError,
    ModelFormat,
    UnsupportedModelError,
)

from .architecture import check_supported, is_encoder, read_decoder_config
from .broad import check_broad, is_broad
from .checkpoint.stored_names import stored_names
from .embedding.recipe import read_recipe

_EMBEDS = frozenset({Capability.EMBED})


def capabilities_of(model: ModelDescription, offered: Set[str]) -> frozenset[str]:
    """Those of a plugin's capabilities that it has for this model: ``LoadAnswer.capabilities``.

    An encoder embeds, and so does a decoder whose checkpoint has no output layer. Other
    decoders generate too. One whose files ask for a way to embed that is not computed only
    generates.

    :param offered: what the plugin says in ``sagellm_plugin_info``.
    :raises UnsupportedModelError: none of them; the reason is named.
    :raises ModelFormatError: files that say how to embed are damaged.
    """
    if is_encoder(model.model_type):
        if model.format is not ModelFormat.SAFETENSORS:
            raise UnsupportedModelError(
                f"{model.reference!r} is a {model.model_type!r} encoder in a GGUF file.",
                hint="Encoders are read from directories with safetensors.",
            )
        read_recipe(model, default_pooling="mean")
        return _EMBEDS
    if model.format is ModelFormat.SAFETENSORS and is_broad(model.model_type):
        check_broad(model.config)
        return frozenset(offered) - _EMBEDS
    check_supported(model.model_type, model.architecture)
    generates = _has_head(model)
    try:
        read_recipe(model, default_pooling="last")
    except ModelError:
        if not generates:
            raise
        return frozenset(offered) - _EMBEDS
    return frozenset(offered) if generates else _EMBEDS


def made_to_embed(model: ModelDescription) -> bool:
    """Whether a decoder's files say that it was trained for embeddings, which want exact weights.

    Such are a description of modules as sentence-transformers writes it, a pooling in a GGUF file,
    and the lack of an output layer.
    """
    if model.format is not ModelFormat.SAFETENSORS:
        return bool(model.config.get(f"{model.model_type}.pooling_type"))
    described = model.path is not None and (model.path / "modules.json").is_file()
    return described or not _has_head(model)


def _has_head(model: ModelDescription) -> bool:
    if model.format is not ModelFormat.SAFETENSORS:
        return True
    if read_decoder_config(model.config).tie_word_embeddings:
        return True
    names = None if model.path is None else stored_names(model.path)
    if names is None:
        return not model.architecture.endswith("Model")
    return any(name.endswith("lm_head.weight") for name in names)
