"""Rotary embedding: from the keys and tensors of a GGUF to the fields of a config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagellm_core.contract import UnsupportedModelError

from .metadata import Metadata

#: Divisors of the rotary frequencies, one per pair of a head's dimensions.
FACTOR_TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def rope_config(
    metadata: Metadata, arch: str, factors: Mapping[str, list[float]]
) -> dict[str, Any]:
    """``rope_theta`` and, where the model scales its rotary frequencies, ``rope_scaling``.

    :param arch: the prefix of the model's own keys.
    :param factors: the values of those FACTOR_TENSORS that the file has.
    :raises UnsupportedModelError: a kind of scaling that has no counterpart.
    """
    config: dict[str, Any] = {"rope_theta": metadata.number(f"{arch}.rope.freq_base", 10000.0)}
    scaling = _by_factors(metadata, arch, factors) or _by_type(metadata, arch)
    config["rope_scaling"] = scaling
    if scaling is not None and "original_max_position_embeddings" in scaling:
        # Phi-3's own config has it at the top, and readers look in either place.
        config["original_max_position_embeddings"] = scaling["original_max_position_embeddings"]
    return config


def _by_factors(
    metadata: Metadata, arch: str, factors: Mapping[str, list[float]]
) -> dict[str, Any] | None:
    long = factors.get("rope_factors_long.weight")
    short = factors.get("rope_factors_short.weight")
    single = factors.get("rope_freqs.weight")
    context = metadata.integer(f"{arch}.context_length")
    if long is not None and short is not None:
        scaling = {
            "rope_type": "longrope",
            "long_factor": long,
            "short_factor": short,
            "original_max_position_embeddings": metadata.integer(
                f"{arch}.rope.scaling.original_context_length", context
            ),
        }
        attention = metadata.number(f"{arch}.rope.scaling.attn_factor", None)
        if attention is not None:
            scaling["attention_factor"] = attention
        return scaling
    if single is not None:
        # Llama 3.1's scaling arrives already worked out, one divisor per frequency, and without
        # the parameters that it came from. longrope with equal factors and an attention factor
        # of one is the same function: inverse frequency / factor, at every length.
        return {
            "rope_type": "longrope",
            "long_factor": single,
            "short_factor": single,
            "attention_factor": 1.0,
            "original_max_position_embeddings": context,
        }
    return None


def _by_type(metadata: Metadata, arch: str) -> dict[str, Any] | None:
    key = f"{arch}.rope.scaling"
    kind = metadata.string(f"{key}.type", "none")
    factor = metadata.number(f"{key}.factor", 0.0)
    if f"{arch}.rope.scale_linear" in metadata and f"{key}.type" not in metadata:
        kind, factor = "linear", metadata.number(f"{arch}.rope.scale_linear")
    # llama.cpp reads a factor of zero as "not scaled".
    if kind == "none" or factor in (0.0, 1.0):
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        return _yarn(metadata, arch, factor)
    raise UnsupportedModelError(
        f"The model scales its rotary embedding in the way {kind!r}.",
        hint="Supported are: linear, yarn, longrope, and Llama 3's frequency factors.",
    )


def _yarn(metadata: Metadata, arch: str, factor: float) -> dict[str, Any]:
    key = f"{arch}.rope.scaling"
    for name, neutral in (
        ("yarn_log_multiplier", (0.0,)),
        ("yarn_ext_factor", (1.0, -1.0)),
        ("yarn_attn_factor", (1.0, -1.0)),
        ("attn_factor", (1.0,)),
    ):
        value = metadata.number(f"{key}.{name}", neutral[0])
        if value not in neutral:
            raise UnsupportedModelError(
                f"The model's yarn scaling has {name} {value:g}.",
                hint=f"Only {neutral[0]:g} is supported.",
            )
    scaling: dict[str, Any] = {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": metadata.integer(
            f"{key}.original_context_length", metadata.integer(f"{arch}.context_length")
        ),
    }
    for name in ("beta_fast", "beta_slow"):
        beta = metadata.number(f"{key}.yarn_{name}", None)
        if beta is not None:
            scaling[name] = beta
    return scaling
