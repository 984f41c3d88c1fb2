"""The Gemma families."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .config_fields import ConfigFields
from .decoder_config import DecoderConfig
from .rope_config import RopeConfig, read_rope, rope_entry
from .shared_fields import check_activation, shared_arguments


def _gemma_arguments(fields: ConfigFields, **base: Any) -> dict[str, Any]:
    bias = fields.flag("attention_bias", False)
    return {
        **base,
        "norm_offset": 1.0,
        "embedding_scale": math.sqrt(base["hidden_size"]),
        "qkv_bias": bias,
        "output_bias": bias,
    }


def read_gemma(fields: ConfigFields, config: Mapping[str, Any]) -> DecoderConfig:
    """The first Gemma: a Llama with ``1 + w`` norms and scaled embeddings."""
    base = shared_arguments(fields, config, max_length=8192, defaults={"head_dim": 256}, tie=True)
    # The first Gemma configs say "gelu" and mean the tanh approximation.
    name = fields.text("hidden_activation", fields.text("hidden_act", "gelu_pytorch_tanh"))
    base["activation"] = check_activation(fields, "gelu_pytorch_tanh" if name == "gelu" else name)
    return DecoderConfig(**_gemma_arguments(fields, **base))


def read_gemma2(fields: ConfigFields, config: Mapping[str, Any]) -> DecoderConfig:
    """Gemma 2: every other layer slides; norms on both sides; soft caps."""
    count = fields.layer_count
    alternating = tuple("full_attention" if i % 2 else "sliding_attention" for i in range(count))
    base = shared_arguments(
        fields,
        config,
        layer_types=alternating,
        max_length=8192,
        defaults={**_GEMMA_SIZES, "vocab_size": 256_000},
        tie=True,
    )
    return _late_gemma(fields, base, softcaps=(50.0, 30.0), config=config)


def read_gemma3(fields: ConfigFields, config: Mapping[str, Any]) -> DecoderConfig:
    """Gemma 3: five sliding layers for a full one, each kind with its own rotation."""
    count = fields.layer_count
    pattern = fields.integer("sliding_window_pattern", 6)
    kinds = tuple(
        "sliding_attention" if (i + 1) % pattern else "full_attention" for i in range(count)
    )
    longest = fields.integer("max_position_embeddings", 131_072)
    base = shared_arguments(
        fields,
        config,
        layer_types=kinds,
        ropes=_gemma3_ropes(fields, config, longest),
        max_length=131_072,
        defaults={**_GEMMA_SIZES, "vocab_size": 262_208},
        tie=True,
    )
    return _late_gemma(fields, base, softcaps=(None, None), config=config, qk_norm=True)


def _gemma3_ropes(
    fields: ConfigFields, config: Mapping[str, Any], longest: int
) -> tuple[RopeConfig, RopeConfig]:
    """(full, sliding): scaling concerns full layers only; sliding ones have their own base."""
    head_dim = fields.integer("head_dim", _GEMMA_SIZES["head_dim"])
    full = read_rope(
        fields,
        rope_entry(config, "full_attention"),
        head_dim=head_dim,
        default_theta=1_000_000.0,
        max_length=longest,
    )
    parameters = config.get("rope_parameters")
    nested = parameters.get("sliding_attention") if isinstance(parameters, Mapping) else None
    local = ConfigFields({} if nested is not None else config)
    sliding = read_rope(
        ConfigFields({"model_type": fields.model_type}),
        nested if isinstance(nested, Mapping) else {},
        head_dim=head_dim,
        default_theta=local.number("rope_local_base_freq", 10_000.0),
        max_length=longest,
    )
    return full, sliding


#: Sizes that Gemma 2 and 3 configs may leave out.
_GEMMA_SIZES: Mapping[str, int] = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 4096,
}


def _late_gemma(
    fields: ConfigFields,
    base: dict[str, Any],
    *,
    config: Mapping[str, Any],
    softcaps: tuple[float | None, float | None],
    qk_norm: bool = False,
) -> DecoderConfig:
    name = fields.text("hidden_activation", fields.text("hidden_act", "gelu_pytorch_tanh"))
    base["activation"] = check_activation(fields, name)
    base["attention_scale"] = fields.positive("query_pre_attn_scalar", 256.0) ** -0.5
    attention, final = (
        # An explicit null switches a cap off; only a missing field means the default.
        fields.optional_number(key) if key in config else default
        for key, default in zip(
            ("attn_logit_softcapping", "final_logit_softcapping"), softcaps, strict=True
        )
    )
    return DecoderConfig(
        **_gemma_arguments(fields, **base),
        sandwich_norms=True,
        qk_norm=qk_norm,
        attention_softcap=attention,
        logit_softcap=final,
    )
