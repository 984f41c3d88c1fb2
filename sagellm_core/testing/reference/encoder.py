"""The forward pass of BERT, and how token vectors become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import Array, attention, gelu, layer_norm


class ReferenceEncoder:
    """BERT (arXiv:1810.04805) over one text.

    :param config: its config.json.
    :param tensors: its weights by published name.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        self._weights = {name: np.asarray(each, np.float64) for name, each in tensors.items()}
        self._layers = int(config["num_hidden_layers"])
        self._heads = int(config["num_attention_heads"])
        self._eps = float(config["layer_norm_eps"])

    def hidden(self, token_ids: Sequence[int]) -> Array:
        """Token vectors of shape [len(token_ids), hidden]."""
        table = "embeddings.{}_embeddings.weight"
        x = (
            self._weights[table.format("word")][list(token_ids)]
            + self._weights[table.format("position")][: len(token_ids)]
            + self._weights[table.format("token_type")][0]
        )
        x = self._norm(x, "embeddings.LayerNorm")
        everything = np.ones((len(x), len(x)), dtype=np.bool_)
        for number in range(self._layers):
            layer = f"encoder.layer.{number}"
            q, k, v = (
                self._linear(x, f"{layer}.attention.self.{name}").reshape(len(x), self._heads, -1)
                for name in ("query", "key", "value")
            )
            seen = self._linear(attention(q, k, v, everything), f"{layer}.attention.output.dense")
            x = self._norm(x + seen, f"{layer}.attention.output.LayerNorm")
            inner = gelu(self._linear(x, f"{layer}.intermediate.dense"))
            x = self._norm(
                x + self._linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm"
            )
        return x

    def _norm(self, x: Array, name: str) -> Array:
        return layer_norm(
            x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], self._eps
        )

    def _linear(self, x: Array, name: str) -> Array:
        return np.asarray(x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"])


def pooled(hidden: Array, pooling: str) -> Array:
    """One vector of a text's token vectors.

    :param hidden: of shape [tokens, hidden].
    :param pooling: ``mean``, ``last``, ``cls`` or ``max``.
    """
    match pooling:
        case "mean":
            return np.asarray(hidden.mean(axis=0))
        case "last":
            return np.asarray(hidden[-1])
        case "cls":
            return np.asarray(hidden[0])
        case "max":
            return np.asarray(hidden.max(axis=0))
    raise ValueError(f"no pooling is named {pooling!r}")
