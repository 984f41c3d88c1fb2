"""The decoder: one forward pass for every supported family.

What differs between families are fields of :class:`DecoderConfig`; what differs between
devices are methods of :class:`DeviceAdapter`.
"""

from __future__ import annotations

from typing import Protocol

import torch

from .adapter import DeviceAdapter
from .architecture import DecoderConfig
from .attention import AttentionConfig
from .kv_cache import KVCache
from .step import DecodeStep, PrefillStep
from .weights import DecoderWeights, LayerWeights


class StepDecoder(Protocol):
    """What runners and embedders call: :class:`Decoder`, or what a device computes it with."""

    config: DecoderConfig

    @property
    def has_head(self) -> bool:
        """Whether it can give logits; without a head it only embeds."""
        ...

    def decode(self, step: DecodeStep, cache: KVCache) -> torch.Tensor:
        """Write each row's key and value into the cache; logits [B, vocab]."""
        ...

    def prefill(self, step: PrefillStep, cache: KVCache) -> torch.Tensor | None:
        """Write the chunks' keys and values into the cache; logits of the wanted rows."""
        ...

    def hidden_states(self, step: PrefillStep, cache: KVCache) -> torch.Tensor:
        """Hidden states after the last norm, of the wanted rows."""
        ...


class Decoder:
    """A decoder over weights that are on the device. Keeps no state of any sequence."""

    def __init__(
        self, config: DecoderConfig, weights: DecoderWeights, adapter: DeviceAdapter
    ) -> None:
        self.config = config
        self._weights = weights
        self._adapter = adapter
        self._attention = [
            AttentionConfig(
                num_heads=config.num_heads,
                num_kv_heads=config.num_kv_heads,
                head_dim=config.head_dim,
                scale=config.attention_scale,
                softcap=config.attention_softcap,
                sliding_window=layer.sliding_window,
            )
            for layer in config.layers
        ]

    @property
    def weights(self) -> DecoderWeights:
        """Its weights. A device may put other linear layers of the same weights in their places."""
        return self._weights

    @property
    def has_head(self) -> bool:
        """Whether it can give logits; without a head it only embeds."""
        return self._weights.head is not None

    def decode(self, step: DecodeStep, cache: KVCache) -> torch.Tensor:
        """Write each row's key and value into the cache; logits [B, vocab]."""
        logits = self._forward(step, cache)
        assert logits is not None, "a decode step wants every row's logits"
        return logits

    def prefill(self, step: PrefillStep, cache: KVCache) -> torch.Tensor | None:
        """Write the chunks' keys and values into the cache.

        :returns: logits [rows, vocab] of the rows that the step wants; ``None`` without any.
        """
        return self._forward(step, cache)

    def hidden_states(self, step: PrefillStep, cache: KVCache) -> torch.Tensor:
        """Hidden states after the last norm, [T, hidden], or of the rows that the step wants."""
        hidden = self._hidden(step, cache)
        assert hidden is not None, "an embedding step wants rows"
        return hidden

    def _forward(self, step: PrefillStep | DecodeStep, cache: KVCache) -> torch.Tensor | None:
        hidden = self._hidden(step, cache)
        if hidden is None:
            return None
        head = self._weights.head
        assert head is not None, "runners open only over models with a head"
        logits = head(hidden).float()
        cap = self.config.logit_softcap
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def _hidden(self, step: PrefillStep | DecodeStep, cache: KVCache) -> torch.Tensor | None:
        config, weights = self.config, self._weights
        hidden = weights.embedding.lookup(step.tokens)  # [T, H]
        if config.embedding_scale != 1.0:
            # Gemma rounds the factor to the type of the embeddings.
            hidden = hidden * torch.tensor(config.embedding_scale, dtype=hidden.dtype)
        layers, eps = weights.layers, config.norm_eps
        last = config.num_layers - 1
        normed = self._norm(hidden, layers[0].attention_norm)
        for index, layer in enumerate(layers):
            mixed = self._attend(index, layer, normed, step, cache)
            if index == last and step.logits_index is not None:
                # Past the last attention only rows that are sampled matter.
                if not step.logits_index.numel():
                    return None
                mixed = mixed.index_select(0, step.logits_index)
                hidden = hidden.index_select(0, step.logits_index)
            mixed = layer.output(mixed)
            if layer.post_attention_norm is not None:
                mixed = self._norm(mixed, layer.post_attention_norm)
            hidden, normed = self._adapter.add_rms_norm(hidden, mixed, layer.mlp_norm, eps)
            gate_up = layer.gate_up(normed)
            mixed = layer.down(self._adapter.gated_activation(gate_up, config.activation))
            if layer.post_mlp_norm is not None:
                mixed = self._norm(mixed, layer.post_mlp_norm)
            # What follows an addition is a norm: that of the next layer, or the last.
            following = weights.final_norm if index == last else layers[index + 1].attention_norm
            hidden, normed = self._adapter.add_rms_norm(hidden, mixed, following, eps)
        return normed

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return self._adapter.rms_norm(x, weight, self.config.norm_eps)

    def _attend(
        self,
        index: int,
        layer: LayerWeights,
        normed: torch.Tensor,
        step: PrefillStep | DecodeStep,
        cache: KVCache,
    ) -> torch.Tensor:
        """Attention before its output projection, [T, num_heads * head_dim]."""
        config = self.config
        return self._adapter.attend(
            layer.qkv(normed),
            step.rotations[config.layers[index].rope],
            cache.layers[index],
            step,
            self._attention[index],
            layer.qk_norm,
            config.norm_eps,
        )
