"""The forward pass of Llama, Mistral, Qwen2 and Qwen3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import Array, attention, rms_norm, rotate, silu


class ReferenceDecoder:
    """A decoder over whole sequences.

    Llama (arXiv:2302.13971); Mistral's sliding window (arXiv:2310.06825); Qwen2's biases on q, k
    and v (arXiv:2407.10671); Qwen3's norms on q and k (arXiv:2505.09388). What a checkpoint has
    of these decides.

    :param config: its config.json.
    :param tensors: its weights by published name.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        self._weights = {name: np.asarray(each, np.float64) for name, each in tensors.items()}
        self._layers = int(config["num_hidden_layers"])
        self._heads = int(config["num_attention_heads"])
        self._kv_heads = int(config["num_key_value_heads"])
        self._head_dim = int(config.get("head_dim") or config["hidden_size"] // self._heads)
        self._eps = float(config["rms_norm_eps"])
        self._theta = float(config["rope_theta"])
        window = config.get("sliding_window")
        self._window = int(window) if window else None

    def logits(self, token_ids: Sequence[int]) -> Array:
        """Logits after each token.

        :returns: of shape [len(token_ids), vocabulary].
        """
        head = "lm_head.weight"
        weight = self._weights[head if head in self._weights else "model.embed_tokens.weight"]
        return np.asarray(self.hidden(token_ids) @ weight.T)

    def hidden(self, token_ids: Sequence[int]) -> Array:
        """Hidden states after the last norm, of shape [len(token_ids), hidden]."""
        x = self._weights["model.embed_tokens.weight"][list(token_ids)]
        positions = np.arange(len(token_ids))
        for number in range(self._layers):
            layer = f"model.layers.{number}"
            x = x + self._attend(self._norm(x, f"{layer}.input_layernorm"), layer, positions)
            y = self._norm(x, f"{layer}.post_attention_layernorm")
            # SwiGLU (arXiv:2002.05202).
            gate = silu(self._linear(y, f"{layer}.mlp.gate_proj"))
            up = self._linear(y, f"{layer}.mlp.up_proj")
            x = x + self._linear(gate * up, f"{layer}.mlp.down_proj")
        return self._norm(x, "model.norm")

    def _attend(self, x: Array, layer: str, positions: NDArray[np.int64]) -> Array:
        name = f"{layer}.self_attn"
        q = self._linear(x, f"{name}.q_proj").reshape(len(x), self._heads, self._head_dim)
        k = self._linear(x, f"{name}.k_proj").reshape(len(x), self._kv_heads, self._head_dim)
        v = self._linear(x, f"{name}.v_proj").reshape(len(x), self._kv_heads, self._head_dim)
        if f"{name}.q_norm.weight" in self._weights:
            q, k = self._norm(q, f"{name}.q_norm"), self._norm(k, f"{name}.k_norm")
        q, k = rotate(q, positions, self._theta), rotate(k, positions, self._theta)
        distance = positions[:, None] - positions[None, :]
        mask = distance >= 0
        if self._window is not None:
            mask &= distance < self._window
        return self._linear(attention(q, k, v, mask), f"{name}.o_proj")

    def _norm(self, x: Array, name: str) -> Array:
        return rms_norm(x, self._weights[f"{name}.weight"], self._eps)

    def _linear(self, x: Array, name: str) -> Array:
        bias = self._weights.get(f"{name}.bias", 0.0)
        return np.asarray(x @ self._weights[f"{name}.weight"].T + bias)
