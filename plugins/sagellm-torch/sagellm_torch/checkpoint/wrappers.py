"""Text models inside multimodal ones: their configuration and the names of their tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Prefixes of the language model, longest first, and what they become.
_PREFIXES = (
    ("language_model.model.", "model."),
    ("model.language_model.", "model."),
    ("language_model.lm_head.", "lm_head."),
)
_TEXT = ("model.", "lm_head.")
#: Parts of a wrapper that are not its language model.
_TOWERS = (
    "model.vision_tower.",
    "model.multi_modal_projector.",
    "model.visual.",
    "model.audio_tower.",
)
#: Fields that wrappers keep beside ``text_config`` and that hold for the text model.
_SHARED = (
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "torch_dtype",
    "dtype",
    "quantization_config",
)
#: Published configs leave out what equals the defaults of their configuration class. These are
#: the defaults of Gemma3TextConfig (transformers 4.50 to 5), which the 4B, 12B and 27B rely on.
_TEXT_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "gemma3": {
        "model_type": "gemma3_text",
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-06,
        "attention_bias": False,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "tie_word_embeddings": True,
    }
}


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the text model alone; the same again where nothing wraps it."""
    inner = config.get("text_config")
    if not isinstance(inner, Mapping):
        return dict(config)
    shared = {name: config[name] for name in _SHARED if config.get(name) is not None}
    merged = {**_TEXT_DEFAULTS.get(str(config.get("model_type")), {}), **shared, **inner}
    if config.get("model_type") == "gemma3" and "rope_parameters" not in merged:
        merged.setdefault("rope_theta", 1000000.0)
        merged.setdefault("rope_local_base_freq", 10000.0)
    merged.setdefault("architectures", config.get("architectures", []))
    return merged


def canonical_names(names: Iterable[str], *, wrapped: bool) -> dict[str, str]:
    """Canonical name -> name in the files. A wrapper's other towers are left out."""
    stored = list(names)
    if not wrapped:
        # Checkpoints of the bare model, without a head, lack the prefix.
        bare = "embed_tokens.weight" in stored
        return {f"model.{name}" if bare else name: name for name in stored}
    canonical: dict[str, str] = {}
    for name in stored:
        for prefix, plain in _PREFIXES:
            if name.startswith(prefix):
                canonical[plain + name.removeprefix(prefix)] = name
                break
        else:
            if name.startswith(_TEXT) and not name.startswith(_TOWERS):
                canonical[name] = name
    return canonical
