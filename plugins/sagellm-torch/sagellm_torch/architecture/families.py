"""Model families: how each one's config becomes a :class:`DecoderConfig`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sagellm_core.contract.errors import ModelFormatError, UnsupportedModelError
from sagellm_torch.broad import PROVEN_MODEL_TYPES

from .config_fields import ConfigFields
from .decoder_config import DecoderConfig
from .encoders import SUPPORTED_ENCODER_TYPES
from .gemma import read_gemma, read_gemma2, read_gemma3
from .shared_fields import all_sliding, shared_arguments

#: Fields that change the mathematics of a family that does not have them; with any other value
#: than these (or null), the result would be silently wrong.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "alibi": (False,),
    "attention_chunk_size": (),
    "attention_multiplier": (),
    "attention_sinks": (False,),
    "attn_temperature_tuning": (False, 0),
    "clip_qkv": (),
    "embedding_multiplier": (1, 1.0),
    "logit_scale": (1, 1.0),
    "logits_scaling": (1, 1.0),
    "no_rope_layers": ([],),
    "num_experts": (0, 1),
    "num_local_experts": (0, 1),
    "n_routed_experts": (0,),
    "parallel_attn": (False,),
    "qk_norm": (False,),
    "use_qk_norm": (False,),
    "residual_multiplier": (1, 1.0),
    "rope_interleaved": (False,),
    "use_bidirectional_attention": (False,),
    "use_sinks": (False,),
    "is_causal": (True,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "num_nextn_predict_layers": (0,),
    "altup_num_inputs": (),
    "num_kv_shared_layers": (0,),
    "quantization_config": ({},),
}

_Reader = Callable[[ConfigFields, Mapping[str, Any]], DecoderConfig]


def check_supported(model_type: str, architecture: str = "") -> None:
    """Refuse a family that the native decoder does not cover.

    :param model_type: of config.json, or the architecture of a GGUF.
    :raises UnsupportedModelError: naming it, and those that are supported.
    """
    if model_type in _READERS and _architecture_fits(architecture):
        return
    named = architecture or model_type or "(unnamed)"
    raise UnsupportedModelError(
        f"The architecture {named!r} (model_type {model_type!r}) is not supported.",
        hint=f"The native decoder covers: {', '.join(SUPPORTED_MODEL_TYPES)}; the native encoder, "
        f"for embedding: {', '.join(SUPPORTED_ENCODER_TYPES)}. From safetensors, transformers "
        f"runs: {', '.join(PROVEN_MODEL_TYPES)}.",
    )


def _architecture_fits(architecture: str) -> bool:
    # A config for classification names a family but has another head; one that ends with
    # "Model" has none, which is enough to embed.
    return not architecture or architecture.endswith(
        ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "Model")
    )


def read_decoder_config(config: Mapping[str, Any]) -> DecoderConfig:
    """The decoder's parameters.

    :param config: config.json as a dictionary, for a GGUF the one made from its metadata.
    :raises UnsupportedModelError: the family, or something it asks for, is not covered.
    :raises ModelFormatError: fields are missing, of a wrong type, or contradict each other.
    """
    architectures = config.get("architectures")
    architecture = ""
    if isinstance(architectures, (list, tuple)) and architectures:
        architecture = str(architectures[0])
    check_supported(str(config.get("model_type", "")), architecture)
    nested = config.get("text_config")
    if config.get("model_type") == "gemma3" and isinstance(nested, Mapping):
        config = {**nested, "model_type": "gemma3_text"}
    _refuse_foreign_mathematics(config)
    decoder = _READERS[str(config["model_type"])](ConfigFields(config), config)
    if decoder.head_dim % 2:
        raise ModelFormatError(
            f"head_dim={decoder.head_dim} is odd.",
            hint="Rotated pairs need an even number; check the model's config.json.",
        )
    if decoder.num_heads % decoder.num_kv_heads:
        raise ModelFormatError(
            f"{decoder.num_heads} attention heads cannot share {decoder.num_kv_heads} key-value "
            "heads evenly.",
            hint="Use the config.json that was published with the weights.",
        )
    return decoder


def _refuse_foreign_mathematics(config: Mapping[str, Any]) -> None:
    for name, neutral in _NEUTRAL.items():
        value = config.get(name)
        if value is None or any(value == item for item in neutral):
            continue
        if name == "quantization_config":
            method = value.get("quant_method", "?") if isinstance(value, Mapping) else value
            raise UnsupportedModelError(
                f"The weights are quantised with {method!r}, which is not supported.",
                hint="Use the unquantised safetensors of this model, or a GGUF file of it.",
            )
        raise UnsupportedModelError(
            f"This {config.get('model_type')!r} model has {name}={value!r}, which the native "
            "decoder does not compute.",
            hint="It would give wrong results without it; use another model.",
        )


def _llama(fields: ConfigFields, config: Mapping[str, Any]) -> DecoderConfig:
    bias = fields.flag("attention_bias", False)
    return DecoderConfig(
        **shared_arguments(fields, config),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=fields.flag("mlp_bias", False),
    )


def _mistral(fields: ConfigFields, config: Mapping[str, Any]) -> DecoderConfig:
    return DecoderConfig(
        **shared_arguments(
            fields,
            config,
            layer_types=all_sliding(fields),
            max_length=131_072,
            defaults={"num_key_value_heads": 8},
        )
    )


def _qwen_layer_types(fields: ConfigFields) -> tuple[str, ...]:
    """Qwen's switch: layers from ``max_window_layers`` on slide, if ``use_sliding_window``."""
    count = fields.layer_count
    _check_window_switch(fields, count)
    sliding = fields.flag("use_sliding_window", False) and fields.has("sliding_window")
    first = int(fields.number("max_window_layers", 28)) if sliding else count
    return tuple("sliding_attention" if i >= first else "full_attention" for i in range(count))


def _qwen2(fields: ConfigFields, config: Mapping[str, Any]) -> DecoderConfig:
    base = shared_arguments(
        fields,
        config,
        layer_types=_qwen_layer_types(fields),
        max_length=32_768,
    )
    return DecoderConfig(**base, qkv_bias=True)


def _qwen3(fields: ConfigFields, config: Mapping[str, Any]) -> DecoderConfig:
    bias = fields.flag("attention_bias", False)
    base = shared_arguments(
        fields,
        config,
        layer_types=_qwen_layer_types(fields),
        max_length=32_768,
        defaults={"head_dim": 128},
    )
    return DecoderConfig(**base, qk_norm=True, qkv_bias=bias, output_bias=bias)


def _check_window_switch(fields: ConfigFields, count: int) -> None:
    # Listed sliding layers beside a switched-off window contradict each other.
    listed = fields.strings("layer_types", count) or ()
    if "sliding_attention" in listed and not fields.flag("use_sliding_window", False):
        raise ModelFormatError(
            "layer_types has sliding_attention layers and use_sliding_window is off.",
            hint="Set use_sliding_window to true, or list only full_attention layers.",
        )


def _phi3(fields: ConfigFields, config: Mapping[str, Any]) -> DecoderConfig:
    base = shared_arguments(
        fields, config, layer_types=all_sliding(fields), max_length=4096, phi3=True
    )
    return DecoderConfig(**base)


_READERS: Mapping[str, _Reader] = {
    "gemma": read_gemma,
    "gemma2": read_gemma2,
    "gemma3": read_gemma3,
    "gemma3_text": read_gemma3,
    "llama": _llama,
    "mistral": _mistral,
    "phi3": _phi3,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
}

#: ``model_type`` values (and GGUF architectures) that the native decoder covers.
SUPPORTED_MODEL_TYPES = tuple(sorted(_READERS))
