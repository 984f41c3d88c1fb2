"""Random weights of a family, under the names of its published checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .family import Family

Tensors = dict[str, NDArray[np.float32]]


def random_weights(family: Family, changes: Mapping[str, Any] | None = None) -> Tensors:
    """Weights of ``family``, the same on every machine.

    :param changes: over the family's config.
    :returns: float32 tensors by name. Each value is one of bfloat16, so that a device of 16 bits
        computes with the same weights as the reference.
    """
    draw = _Draw(family.seed)
    config = {**family.config, **(changes or {})}
    if family.is_encoder:
        _encoder(draw, config)
    else:
        _decoder(draw, config, family.model_type)
    return draw.tensors


class _Draw:
    def __init__(self, seed: int) -> None:
        # The legacy generator: NumPy promises that its stream never changes.
        self._random = np.random.RandomState(seed)
        self.tensors: Tensors = {}

    def linear(self, name: str, out: int, inner: int, gain: float = 1.0) -> None:
        """A weight of shape [out, inner] that keeps the scale of what it multiplies."""
        self._add(f"{name}.weight", self._normal((out, inner)) * gain / np.sqrt(inner))

    def table(self, name: str, rows: int, width: int, scale: float = 1.0) -> None:
        self._add(f"{name}.weight", self._normal((rows, width)) * scale)

    def norm(self, name: str, width: int) -> None:
        # Not constant, as checkpoints that were never trained are: that would hide a mix-up.
        self._add(f"{name}.weight", 1.0 + 0.2 * self._normal((width,)))

    def bias(self, name: str, width: int) -> None:
        self._add(f"{name}.bias", 0.3 * self._normal((width,)))

    def _normal(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.asarray(self._random.standard_normal(shape), dtype=np.float64)

    def _add(self, name: str, values: NDArray[np.float64]) -> None:
        bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
        # The upper half of a float32 is a bfloat16.
        self.tensors[name] = (bits & np.uint32(0xFFFF0000)).view("<f4")


def _decoder(draw: _Draw, config: Mapping[str, Any], model_type: str) -> None:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim", hidden // heads)
    # A tied head would else see little but the last token itself.
    scale = 0.125 if config["tie_word_embeddings"] else 1.0
    draw.table("model.embed_tokens", config["vocab_size"], hidden, scale)
    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        attention = f"{layer}.self_attn"
        for name, count in (("q_proj", heads), ("k_proj", kv_heads), ("v_proj", kv_heads)):
            # Sharp attention: a position that is wrong by one must show.
            draw.linear(
                f"{attention}.{name}", count * head_dim, hidden, 1.0 if "v" in name else 1.5
            )
            if model_type == "qwen2":
                draw.bias(f"{attention}.{name}", count * head_dim)
        draw.linear(f"{attention}.o_proj", hidden, heads * head_dim)
        if model_type == "qwen3":
            draw.norm(f"{attention}.q_norm", head_dim)
            draw.norm(f"{attention}.k_norm", head_dim)
        draw.linear(f"{layer}.mlp.gate_proj", inner, hidden, 1.5)
        draw.linear(f"{layer}.mlp.up_proj", inner, hidden)
        draw.linear(f"{layer}.mlp.down_proj", hidden, inner)
        draw.norm(f"{layer}.input_layernorm", hidden)
        draw.norm(f"{layer}.post_attention_layernorm", hidden)
    draw.norm("model.norm", hidden)
    if not config["tie_word_embeddings"]:
        draw.linear("lm_head", config["vocab_size"], hidden, 2.0)


def _encoder(draw: _Draw, config: Mapping[str, Any]) -> None:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    for name, rows in (
        ("word_embeddings", config["vocab_size"]),
        ("position_embeddings", config["max_position_embeddings"]),
        ("token_type_embeddings", config["type_vocab_size"]),
    ):
        draw.table(f"embeddings.{name}", rows, hidden, 0.5)
    _layer_norm(draw, "embeddings.LayerNorm", hidden)
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        for name, out, width, gain in (
            ("attention.self.query", hidden, hidden, 1.5),
            ("attention.self.key", hidden, hidden, 1.5),
            ("attention.self.value", hidden, hidden, 1.0),
            ("attention.output.dense", hidden, hidden, 1.0),
            ("intermediate.dense", inner, hidden, 1.5),
            ("output.dense", hidden, inner, 1.0),
        ):
            draw.linear(f"{layer}.{name}", out, width, gain)
            draw.bias(f"{layer}.{name}", out)
        _layer_norm(draw, f"{layer}.attention.output.LayerNorm", hidden)
        _layer_norm(draw, f"{layer}.output.LayerNorm", hidden)
    draw.linear("pooler.dense", hidden, hidden)
    draw.bias("pooler.dense", hidden)


def _layer_norm(draw: _Draw, name: str, width: int) -> None:
    draw.norm(name, width)
    draw.bias(name, width)
