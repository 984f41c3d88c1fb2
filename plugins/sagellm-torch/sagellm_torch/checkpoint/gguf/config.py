"""The config.json that a GGUF header stands for."""

from __future__ import annotations

from typing import Any

from sagellm_core.contract import ModelFormatError, UnsupportedModelError

from .families import FAMILIES, Family
from .header import GGUFHeader
from .metadata import ArrayField, Metadata
from .rope import rope_config

#: Keys that change what a model computes and that no supported family has, with the values
#: that change nothing.
_REFUSED = {
    "expert_count": (0,),
    "logit_scale": (0, 1),
    "residual_scale": (0, 1),
    "embedding_scale": (0, 1),
    "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,),
    "attention.causal": (True,),
    "attention.temperature_scale": (0,),
    "use_parallel_residual": (False,),
}
#: Layer counts of the two models whose query scale is not that of their head size. The file
#: does not have the scale; llama.cpp tells these models by their depth too.
_GEMMA_27B_LAYERS = {"gemma2": 46, "gemma3": 62}


def family_of(header: GGUFHeader) -> Family:
    """The family of the file.

    :raises UnsupportedModelError: naming the architecture and those supported.
    """
    name = header.metadata.string("general.architecture")
    family = FAMILIES.get(name)
    if family is None:
        raise UnsupportedModelError(
            f"The GGUF architecture {name!r} of {header.path} is not supported.",
            hint=f"Supported are: {', '.join(sorted(FAMILIES))}.",
        )
    return family


def model_config(header: GGUFHeader, rope_factors: dict[str, list[float]]) -> dict[str, Any]:
    """An HF-style configuration.

    :param rope_factors: the contents of the file's rotary factor tensors.
    :raises UnsupportedModelError: the file states something that its family does not have.
    :raises ModelFormatError: a value is missing or impossible.
    """
    family, metadata = family_of(header), header.metadata
    arch = metadata.string("general.architecture")
    _refuse_foreign(metadata, arch)
    heads = _positive(metadata, f"{arch}.attention.head_count")
    hidden = _positive(metadata, f"{arch}.embedding_length")
    layers = _positive(metadata, f"{arch}.block_count")
    if layers > len(header.tensors):
        raise ModelFormatError(
            f"{header.path} states {layers} layers but has {len(header.tensors)} tensors.",
            hint="The file is damaged or incomplete; download or convert it again.",
        )
    head_dim = _head_dim(metadata, arch, hidden, heads)
    config: dict[str, Any] = {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": _positive(metadata, f"{arch}.attention.head_count_kv", heads),
        "head_dim": head_dim,
        "intermediate_size": _positive(metadata, f"{arch}.feed_forward_length"),
        "rms_norm_eps": metadata.number(f"{arch}.attention.layer_norm_rms_epsilon"),
        "max_position_embeddings": _positive(metadata, f"{arch}.context_length"),
        "vocab_size": _vocab_size(header, arch),
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "attention_bias": "blk.0.attn_q.bias" in header.tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in header.tensors,
        "sliding_window": None,
        **family.constants,
        **rope_config(metadata, arch, rope_factors),
    }
    if arch == "llama":
        _as_mistral(metadata, config)
    elif arch == "phi3":
        _as_phi3(metadata, config)
    elif arch in ("gemma2", "gemma3"):
        _as_gemma(metadata, arch, config)
    rotated = metadata.integer(f"{arch}.rope.dimension_count", head_dim)
    if arch != "phi3" and rotated != head_dim:
        raise UnsupportedModelError(
            f"The model rotates {rotated} of the {head_dim} dimensions of a head.",
            hint=f"{family.model_type} models rotate all of them.",
        )
    for name in ("bos", "eos"):
        token = metadata.integer(f"tokenizer.ggml.{name}_token_id", None)
        if token is not None:
            config[f"{name}_token_id"] = token
    return config


def _refuse_foreign(metadata: Metadata, arch: str) -> None:
    for key, neutral in _REFUSED.items():
        value = metadata.field(f"{arch}.{key}")
        if value is not None and value not in neutral:
            shown = "an array" if isinstance(value, ArrayField) else value
            raise UnsupportedModelError(
                f"The model has {arch}.{key} = {shown}, which {arch} models do not have here.",
                hint="The model is a variant that is not supported; use a plain one.",
            )


def _positive(metadata: Metadata, key: str, default: int | None = None) -> int:
    if isinstance(metadata.field(key), ArrayField):
        # One value per layer. Equal ones are one value; others are another architecture.
        values = {int(value) for value in metadata.integers(key)}
        if len(values) != 1:
            raise UnsupportedModelError(
                f"The model's layers differ in {key}.", hint="Such models are not supported."
            )
        value = values.pop()
    else:
        value = metadata.integer(key) if default is None else metadata.integer(key, default)
    if not 0 < value < 2**31:
        raise ModelFormatError(
            f"{key} is {value}; a positive number was expected.", hint="Convert the model again."
        )
    return value


def _head_dim(metadata: Metadata, arch: str, hidden: int, heads: int) -> int:
    head_dim = _positive(metadata, f"{arch}.attention.key_length", hidden // heads or 1)
    values = _positive(metadata, f"{arch}.attention.value_length", head_dim)
    if values != head_dim:
        raise UnsupportedModelError(
            f"The model's keys have {head_dim} dimensions and its values {values}.",
            hint="Only models with as many of both are supported.",
        )
    return head_dim


def _vocab_size(header: GGUFHeader, arch: str) -> int:
    # The embedding has the last word: converters pad vocabularies, and some leave the key out.
    embedding = header.tensors.get("token_embd.weight")
    if embedding is not None:
        return embedding.shape[0]
    return _positive(header.metadata, f"{arch}.vocab_size")


def _as_mistral(metadata: Metadata, config: dict[str, Any]) -> None:
    # Mistral is stored as "llama"; the one thing that tells it, where it is stated, is a window.
    window = metadata.integer("llama.attention.sliding_window", 0)
    if window > 0:
        config["model_type"], config["architectures"] = "mistral", ["MistralForCausalLM"]
        config["sliding_window"] = window


def _as_phi3(metadata: Metadata, config: dict[str, Any]) -> None:
    # Zero stands for "none" here: it marks Phi-4, which has no window.
    config["sliding_window"] = metadata.integer("phi3.attention.sliding_window", 0) or None
    rotated = metadata.integer("phi3.rope.dimension_count", config["head_dim"])
    config["partial_rotary_factor"] = rotated / config["head_dim"]


def _as_gemma(metadata: Metadata, arch: str, config: dict[str, Any]) -> None:
    layers, head_dim = config["num_hidden_layers"], config["head_dim"]
    scalar: float = head_dim
    if layers == _GEMMA_27B_LAYERS[arch]:
        scalar = config["hidden_size"] // config["num_attention_heads"]
    scale = metadata.number(f"{arch}.attention.scale", 0.0)
    config["query_pre_attn_scalar"] = 1 / (scale * scale) if scale > 1e-6 else scalar
    # Where the file is silent, llama.cpp's defaults are Gemma 2's published values.
    attention_cap, final_cap = (50.0, 30.0) if arch == "gemma2" else (0.0, 0.0)
    for name, default in (("attn", attention_cap), ("final", final_cap)):
        cap = metadata.number(f"{arch}.{name}_logit_softcapping", default)
        config[f"{name}_logit_softcapping"] = cap or None
    window = metadata.integer(f"{arch}.attention.sliding_window", 4096 if arch == "gemma2" else 0)
    config["sliding_window"] = window or None
    config["layer_types"] = _layer_types(metadata, arch, layers, windowed=window > 0)
    if arch == "gemma3":
        config["rope_local_base_freq"] = metadata.number("gemma3.rope.freq_base_swa", 10000.0)
        if "gemma3.rope.freq_base" not in metadata:
            config["rope_theta"] = 1000000.0


def _layer_types(metadata: Metadata, arch: str, layers: int, *, windowed: bool) -> list[str]:
    key = f"{arch}.attention.sliding_window_pattern"
    if not windowed:
        sliding = [False] * layers
    elif isinstance(metadata.field(key), ArrayField):
        sliding = [bool(value) for value in metadata.integers(key)]
    else:
        # Every n-th layer sees everything: each 2nd of Gemma 2, each 6th of Gemma 3.
        period = metadata.integer(key, 2 if arch == "gemma2" else 6)
        sliding = [period == 0 or (layer + 1) % period != 0 for layer in range(layers)]
    if len(sliding) != layers:
        raise ModelFormatError(
            f"{key} has {len(sliding)} entries for {layers} layers.",
            hint="Convert the model again.",
        )
    return ["sliding_attention" if each else "full_attention" for each in sliding]
