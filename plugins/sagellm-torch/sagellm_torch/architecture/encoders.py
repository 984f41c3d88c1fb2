"""Encoder families: how each one's config becomes an :class:`EncoderConfig`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sagellm_core.contract.errors import ModelFormatError, UnsupportedModelError

from .config_fields import ConfigFields
from .encoder_config import EncoderConfig
from .shared_fields import check_activation

#: Values that leave the mathematics as the encoder computes it; any other is refused.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "quantization_config": ({},),
}

#: Heads beside which the encoder itself is whole. A classifier's encoder was trained for
#: another end, and its vectors compare to nothing.
_HEADS = ("Model", "ForMaskedLM", "ForPreTraining")


def is_encoder(model_type: str) -> bool:
    """Whether a ``model_type`` names an encoder family that is covered."""
    return model_type in _READERS


def read_encoder_config(config: Mapping[str, Any]) -> EncoderConfig:
    """The encoder's parameters.

    :param config: config.json as a dictionary.
    :raises UnsupportedModelError: the family, or something it asks for, is not covered; the
        key of the config is named.
    :raises ModelFormatError: fields are missing, of a wrong type, or contradict each other.
    """
    model_type = str(config.get("model_type", ""))
    reader = _READERS.get(model_type)
    if reader is None:
        raise UnsupportedModelError(
            f"The encoder model_type={model_type!r} is not supported.",
            hint=f"The native encoder covers: {', '.join(SUPPORTED_ENCODER_TYPES)}.",
        )
    _check_architecture(config)
    for name, neutral in _NEUTRAL.items():
        value = config.get(name)
        if value is not None and not any(value == item for item in neutral):
            raise UnsupportedModelError(
                f"This {model_type!r} model has {name}={value!r}, which the native encoder "
                "does not compute.",
                hint="It would give wrong vectors without it; use another model.",
            )
    encoder = reader(ConfigFields(config))
    if encoder.hidden_size % encoder.num_heads:
        raise ModelFormatError(
            f"{encoder.num_heads} attention heads cannot share {encoder.hidden_size} features "
            "evenly.",
            hint="Use the config.json that was published with the weights.",
        )
    if encoder.max_length < 1:
        raise ModelFormatError(
            f"max_position_embeddings={encoder.position_rows} leaves no place for a token: "
            f"the first one has position {encoder.first_position}.",
            hint="Use the config.json that was published with the weights.",
        )
    return encoder


def _check_architecture(config: Mapping[str, Any]) -> None:
    architectures = config.get("architectures")
    if not isinstance(architectures, (list, tuple)) or not architectures:
        return
    named = str(architectures[0])
    if not named.endswith(_HEADS):
        raise UnsupportedModelError(
            f"architectures={named!r} is a {config.get('model_type')!r} encoder trained with a "
            "head that is not for embedding.",
            hint="Use a model that was published for sentence embeddings.",
        )


def _bert(fields: ConfigFields) -> EncoderConfig:
    return EncoderConfig(
        **_shared(fields), segment_rows=fields.integer("type_vocab_size", 2), norm_eps=_eps(fields)
    )


def _roberta(fields: ConfigFields) -> EncoderConfig:
    pad = _pad(fields)
    return EncoderConfig(
        **_shared(fields),
        segment_rows=fields.integer("type_vocab_size", 1),
        norm_eps=_eps(fields),
        pad_token_id=pad,
        first_position=pad + 1,
    )


def _mpnet(fields: ConfigFields) -> EncoderConfig:
    # Its position rows begin after the padding token 1, whatever the config calls padding
    # (modeling_mpnet.py of transformers).
    return EncoderConfig(
        **_shared(fields),
        norm_eps=_eps(fields),
        pad_token_id=1,
        first_position=2,
        relative_buckets=fields.integer("relative_attention_num_buckets", 32),
    )


def _distilbert(fields: ConfigFields) -> EncoderConfig:
    return EncoderConfig(
        model_type=fields.model_type,
        vocab_size=fields.integer("vocab_size", 30522),
        hidden_size=fields.integer("dim", 768),
        intermediate_size=fields.integer("hidden_dim", 3072),
        num_layers=_layers(fields, "n_layers", 6),
        num_heads=fields.integer("n_heads", 12),
        position_rows=fields.integer("max_position_embeddings", 512),
        norm_eps=1e-12,  # fixed in the published code, in no config
        activation=check_activation(fields, fields.text("activation", "gelu")),
    )


def _shared(fields: ConfigFields) -> dict[str, Any]:
    return {
        "model_type": fields.model_type,
        "vocab_size": fields.integer("vocab_size"),
        "hidden_size": fields.integer("hidden_size"),
        "intermediate_size": fields.integer("intermediate_size"),
        "num_layers": fields.layer_count,
        "num_heads": fields.integer("num_attention_heads"),
        "position_rows": fields.integer("max_position_embeddings", 512),
        "activation": check_activation(fields, fields.text("hidden_act", "gelu")),
    }


def _eps(fields: ConfigFields) -> float:
    return fields.positive("layer_norm_eps", 1e-12)


def _pad(fields: ConfigFields) -> int:
    value = fields.number("pad_token_id", 1)
    if value < 0 or not value.is_integer():
        raise ModelFormatError(
            f"The model's config has pad_token_id={value!r}, which is no token id.",
            hint="Use the config.json that was published with the weights.",
        )
    return int(value)


def _layers(fields: ConfigFields, name: str, default: int) -> int:
    return ConfigFields({"num_hidden_layers": fields.integer(name, default)}).layer_count


_READERS: Mapping[str, Callable[[ConfigFields], EncoderConfig]] = {
    "bert": _bert,
    "camembert": _roberta,
    "distilbert": _distilbert,
    "mpnet": _mpnet,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
}

#: ``model_type`` values that the native encoder covers.
SUPPORTED_ENCODER_TYPES = tuple(sorted(_READERS))
