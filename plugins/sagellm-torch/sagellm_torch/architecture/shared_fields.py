"""The fields that all families share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagellm_core.contract.errors import ModelFormatError, UnsupportedModelError

from .config_fields import ConfigFields
from .decoder_config import LayerConfig
from .rope_config import RopeConfig, read_rope, rope_entry

#: Gate activations that the decoder computes, by the names that configs use.
ACTIVATIONS = frozenset({"silu", "swish", "gelu", "gelu_pytorch_tanh", "gelu_new", "relu"})


def shared_arguments(
    fields: ConfigFields,
    config: Mapping[str, Any],
    *,
    layer_types: tuple[str, ...] | None = None,
    ropes: tuple[RopeConfig, ...] | None = None,
    default_theta: float = 10_000.0,
    max_length: int = 2048,
    defaults: Mapping[str, int] | None = None,
    tie: bool = False,
    phi3: bool = False,
) -> dict[str, Any]:
    """Arguments of :class:`DecoderConfig` that all families read alike.

    :param layer_types: ``full_attention`` or ``sliding_attention`` a layer; ``None``: all full.
    :param ropes: one for all layers, or (full, sliding).
    :param defaults: values of sizes that published configs of the family leave out.
    """
    given = defaults or {}
    hidden = fields.integer("hidden_size")
    heads = fields.integer("num_attention_heads", given.get("num_attention_heads"))
    head_dim = fields.integer("head_dim", given.get("head_dim", max(1, hidden // heads)))
    kv_heads = fields.integer("num_key_value_heads", given.get("num_key_value_heads", heads))
    count = fields.layer_count
    longest = fields.integer("max_position_embeddings", max_length)
    if ropes is None:
        entry = rope_entry(config, "full_attention")
        ropes = (
            read_rope(
                fields,
                entry,
                head_dim=head_dim,
                default_theta=default_theta,
                max_length=longest,
                phi3=phi3,
            ),
        )
    kinds = _layer_types(fields, count, layer_types)
    window = fields.optional_integer("sliding_window") or given.get("sliding_window")
    return {
        "model_type": fields.model_type,
        "vocab_size": fields.integer("vocab_size", given.get("vocab_size")),
        "hidden_size": hidden,
        "intermediate_size": fields.integer("intermediate_size"),
        "num_heads": heads,
        "num_kv_heads": kv_heads,
        "head_dim": head_dim,
        "max_position_embeddings": longest,
        "layers": tuple(_layer(fields, kind, window, len(ropes)) for kind in kinds),
        "ropes": ropes,
        "norm_eps": fields.positive("rms_norm_eps", 1e-6),
        "attention_scale": head_dim**-0.5,
        "activation": check_activation(fields, fields.text("hidden_act", "silu")),
        "tie_word_embeddings": fields.flag("tie_word_embeddings", tie),
    }


def _layer_types(
    fields: ConfigFields, count: int, derived: tuple[str, ...] | None
) -> tuple[str, ...]:
    kinds = fields.strings("layer_types", count) or derived or ("full_attention",) * count
    for kind in kinds:
        if kind not in ("full_attention", "sliding_attention"):
            raise UnsupportedModelError(
                f"This {fields.model_type!r} model has layers of type {kind!r}.",
                hint="The native decoder computes full_attention and sliding_attention layers.",
            )
    return kinds


def _layer(fields: ConfigFields, kind: str, window: int | None, ropes: int) -> LayerConfig:
    if kind == "full_attention":
        return LayerConfig()
    if window is None:
        raise ModelFormatError(
            "The config has sliding_attention layers and no sliding_window.",
            hint="Use the config.json that was published with the weights.",
        )
    return LayerConfig(sliding_window=window, rope=ropes - 1)


def check_activation(fields: ConfigFields, name: str) -> str:
    """``name``, if the decoder computes it.

    :raises UnsupportedModelError: naming it, and those that are supported.
    """
    if name not in ACTIVATIONS:
        raise UnsupportedModelError(
            f"The activation {name!r} of this {fields.model_type!r} model is not supported.",
            hint=f"The native decoder computes these: {', '.join(sorted(ACTIVATIONS))}.",
        )
    return name


def all_sliding(fields: ConfigFields) -> tuple[str, ...] | None:
    """Every layer slides, if there is a window."""
    if not fields.has("sliding_window"):
        return None
    return ("sliding_attention",) * fields.layer_count
