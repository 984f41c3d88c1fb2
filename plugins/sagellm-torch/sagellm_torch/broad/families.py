"""Which models may run through transformers. Imports neither torch nor transformers.

A model type is here because ``tests/broad`` proves it: a tiny random model of it gives the
tokens of a plain forward of transformers, with chunked prefill, mixed batches and scattered
blocks. Others may well work; many do not, and some of those without any error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagellm_core.contract.errors import UnsupportedModelError

#: ``model_type`` of config.json.
PROVEN_MODEL_TYPES = (
    "afmoe",
    "apertus",
    "arcee",
    "biogpt",
    "cohere",
    "cohere2",
    "cohere2_moe",
    "cwm",
    "deepseek_v2",
    "deepseek_v3",
    "dots1",
    "ernie4_5",
    "ernie4_5_moe",
    "exaone4",
    "exaone_moe",
    "flex_olmo",
    "glm",
    "glm4",
    "glm4_moe",
    "glm4_moe_lite",
    "gpt2",
    "gpt_bigcode",
    "gpt_neox",
    "gpt_oss",
    "granite",
    "granite_swa",
    "granitemoe",
    "granitemoe_swa",
    "granitemoeshared",
    "helium",
    "hunyuan_v1_dense",
    "hy_v3",
    "jais2",
    "jetmoe",
    "laguna",
    "mellum",
    "minicpm3",
    "minimax_m2",
    "ministral",
    "ministral3",
    "mixtral",
    "nanochat",
    "nemotron",
    "olmo",
    "olmo2",
    "olmo3",
    "olmoe",
    "opt",
    "persimmon",
    "phi",
    "phimoe",
    "qwen2_moe",
    "qwen3_moe",
    "seed_oss",
    "smollm3",
    "solar_open",
    "stablelm",
    "starcoder2",
    "vaultgemma",
    "youtu",
)

_LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
#: Rotations that depend on the longest sequence of the batch: what one sequence gets would
#: depend on its neighbours, and keys in the cache would go stale.
_LENGTH_DEPENDENT_ROPES = frozenset({"dynamic", "longrope"})
#: Fields that the proofs leave at these values (or null), and that change who attends to whom,
#: which transformers' code leaves to masks, and those to us.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "add_cross_attention": (False,),
    "alibi": (False,),
    "attention_chunk_size": (),
    "is_causal": (True,),
    "is_encoder_decoder": (False,),
    "num_kv_shared_layers": (0,),
    "use_bidirectional_attention": (False,),
}

#: Types whose modelling code leaves the window to the mask alone and does not tell attention.
_WINDOW_UNTOLD = frozenset({"phimoe", "qwen2_moe"})


def is_broad(model_type: str) -> bool:
    """Whether this model type runs through transformers."""
    return model_type in PROVEN_MODEL_TYPES


def check_broad(config: Mapping[str, Any]) -> None:
    """Refuse what the proofs do not cover.

    :param config: config.json, of a type that :func:`is_broad`.
    :raises UnsupportedModelError: naming what it asks for.
    """
    kind = str(config.get("model_type", ""))
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "?") if isinstance(quantised, Mapping) else quantised
        raise UnsupportedModelError(
            f"The weights are quantised with {method!r}, which is not supported.",
            hint="Use the unquantised safetensors of this model.",
        )
    architectures = config.get("architectures")
    if isinstance(architectures, (list, tuple)) and architectures:
        name = str(architectures[0])
        if not name.endswith(("ForCausalLM", "LMHeadModel")):
            raise UnsupportedModelError(
                f"{name} ({kind!r}) is not a causal language model.",
                hint="Use the checkpoint of this family that generates text.",
            )
    layer_types = config.get("layer_types")
    if isinstance(layer_types, (list, tuple)):
        others = sorted({str(item) for item in layer_types} - _LAYER_TYPES)
        if others:
            raise UnsupportedModelError(
                f"This {kind!r} model has layers of type {', '.join(others)}.",
                hint="Layers of full and of sliding attention are supported; use another model.",
            )
    for name, neutral in _NEUTRAL.items():
        value = config.get(name)
        if value is not None and value not in neutral:
            raise UnsupportedModelError(
                f"This {kind!r} model has {name}={value!r}, which is not computed.",
                hint="It would give wrong results without it; use another model.",
            )
    if kind in _WINDOW_UNTOLD and slides(config):
        raise UnsupportedModelError(
            f"This {kind!r} model has sliding_window={config['sliding_window']!r}, which is not "
            "computed for its type.",
            hint="It would give wrong results without it; use another model.",
        )
    for rope in _rope_types(config):
        if rope in _LENGTH_DEPENDENT_ROPES:
            raise UnsupportedModelError(
                f"This {kind!r} model's rotary embedding is of type {rope!r}, whose angles depend "
                "on the length of the batch.",
                hint="Remove rope_scaling from config.json to use the model within the length "
                "that it was trained for.",
            )


def slides(config: Mapping[str, Any]) -> bool:
    """Whether a config asks for a sliding window that sequences can outgrow."""
    window, longest = config.get("sliding_window"), config.get("max_position_embeddings")
    if not isinstance(window, int) or config.get("use_sliding_window") is False:
        return False
    layer_types = config.get("layer_types")
    if isinstance(layer_types, (list, tuple)) and "sliding_attention" not in layer_types:
        return False
    return not isinstance(longest, int) or window < longest


def _rope_types(config: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for name in ("rope_scaling", "rope_parameters"):
        value = config.get(name)
        if isinstance(value, Mapping):
            # One for all layers, or one for each layer type.
            for item in (value, *value.values()):
                if isinstance(item, Mapping):
                    found.add(str(item.get("rope_type", item.get("type", "default"))))
    return found
