"""A decoder whose forward pass is transformers' own, over the kit's paged KV cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from sagellm_torch import attention
from sagellm_torch.adapter import DeviceAdapter
from sagellm_torch.kv_cache import KVCache
from sagellm_torch.step import DecodeStep, PrefillStep

from .config import BroadConfig
from .paged_pass import attending
from .sink_attention import attend_with_sinks
from .survey import PagedLayer

_ALL = 0


class BroadDecoder:
    """What :class:`~sagellm_torch.decoder.Decoder` is to native models. Keeps no sequence's state.

    :param model: one of transformers' models for causal language modelling, whose attention
        implementation is :data:`~.paged_pass.ATTENTION_NAME`.
    """

    has_head = True

    def __init__(
        self,
        config: BroadConfig,
        model: nn.Module,
        layers: Mapping[nn.Module, PagedLayer],
        adapter: DeviceAdapter,
    ) -> None:
        self.config = config
        self._model = model
        self._layers = layers
        self._adapter = adapter

    def decode(self, step: DecodeStep, cache: KVCache) -> torch.Tensor:
        """Write each row's key and value into the cache; logits [B, vocab] in float32."""
        return self._forward(step, cache, _ALL)

    def prefill(self, step: PrefillStep, cache: KVCache) -> torch.Tensor | None:
        """Write the chunks' keys and values into the cache.

        :returns: logits [rows, vocab] of the rows that the step wants; ``None`` without any.
        """
        wanted = step.logits_index
        if wanted is None:
            return self._forward(step, cache, _ALL)
        if wanted.numel():
            return self._forward(step, cache, wanted)
        # The modelling code has no way to leave the output layer out: one row is the least.
        self._forward(step, cache, 1)
        return None

    def _forward(
        self, step: PrefillStep | DecodeStep, cache: KVCache, keep: torch.Tensor | int
    ) -> torch.Tensor:
        """:param keep: ``logits_to_keep``: rows by index, or how many of the last; 0: all."""
        with attending(_PagedPass(step, cache, self._layers, self._adapter)):
            out = self._model(
                input_ids=step.tokens.unsqueeze(0),
                position_ids=positions(step).unsqueeze(0),
                use_cache=False,
                logits_to_keep=keep,
            )
        logits: torch.Tensor = out.logits
        return logits[0].float()


def positions(step: PrefillStep | DecodeStep) -> torch.Tensor:
    """Each token's place in its sequence, [T]."""
    if isinstance(step, DecodeStep):
        return step.lengths - 1
    device = step.tokens.device
    return torch.cat([torch.arange(s.start, s.context, device=device) for s in step.segments])


class _PagedPass:
    """Attention of one step."""

    def __init__(
        self,
        step: PrefillStep | DecodeStep,
        cache: KVCache,
        layers: Mapping[nn.Module, PagedLayer],
        adapter: DeviceAdapter,
    ) -> None:
        self._step = step
        self._cache = cache
        self._layers = layers
        self._adapter = adapter

    def attend(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        arguments: dict[str, Any],
    ) -> torch.Tensor:
        layer = self._layers[module]
        config, step = layer.attention, self._step
        q, k, v = (_packed(x, config.head_dim) for x in (query, key, value))
        stored = self._cache.layers[layer.index]
        if layer.sinks is not None:
            attention.write(stored, k, v, step.write_index)
            out = attend_with_sinks(q, stored, step, config, layer.sinks)
        elif isinstance(step, DecodeStep):
            out = self._adapter.attend_decode(q, k, v, stored, step, config)
        else:
            out = self._adapter.attend_prefill(q, k, v, stored, step, config)
        out = out.view(1, -1, config.num_heads, config.head_dim)
        return out[..., : layer.value_dim]


def _packed(heads: torch.Tensor, width: int) -> torch.Tensor:
    """[1, heads, T, dim] as [T, heads, width], filled up with zeros, which change no score."""
    packed = heads[0].transpose(0, 1)
    if packed.shape[-1] < width:
        return F.pad(packed, (0, width - packed.shape[-1]))
    return packed.contiguous()
