"""The encoder: one forward pass for every supported BERT-like family."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from sagellm_torch.adapter import DeviceAdapter
from sagellm_torch.architecture import EncoderConfig

from .encoder_weights import EncoderWeights, Norm
from .pack import Pack
from .relative_bias import relative_bias


class Encoder:
    """An encoder over weights that are on the device."""

    def __init__(
        self, config: EncoderConfig, weights: EncoderWeights, adapter: DeviceAdapter
    ) -> None:
        self.config = config
        self._weights = weights
        self._adapter = adapter
        #: [heads, n, n] for the longest text so far.
        self._bias: torch.Tensor | None = None

    @property
    def weights(self) -> EncoderWeights:
        """Its weights."""
        return self._weights

    def hidden_states(self, pack: Pack, rows: torch.Tensor | None) -> torch.Tensor:
        """Token vectors of the last layer, [T, hidden].

        :param rows: rows of ``T`` that are wanted; ``None``: all.
        """
        weights, heads = self._weights, self.config.num_heads
        hidden = F.embedding(pack.tokens, weights.words)
        hidden += F.embedding(self.positions(pack), weights.positions)
        hidden = self._norm(hidden, weights.norm)
        count = hidden.shape[0]
        extra = self._adapter.padded_tokens(count) - count
        if extra:
            hidden = F.pad(hidden, (0, 0, 0, extra))
        bias = self.bias(pack.lengths[0])
        last = len(weights.layers) - 1
        for index, layer in enumerate(weights.layers):
            mixed = self._adapter.attend_full(layer.qkv(hidden), pack.groups, heads, bias)
            if index == last and rows is not None:
                # Past the last attention only the rows that are pooled matter.
                mixed, hidden = mixed.index_select(0, rows), hidden.index_select(0, rows)
            hidden = self._norm(layer.output(mixed, hidden), layer.attention_norm)
            hidden = self._norm(layer.down(layer.up(hidden), hidden), layer.output_norm)
        return hidden if rows is not None else hidden[:count]

    def close(self) -> None:
        """Let go of what was kept between passes."""
        self._bias = None

    def positions(self, pack: Pack) -> torch.Tensor:
        """Each token's row of the table of positions, [T] of int64."""
        first, pad = self.config.first_position, self.config.pad_token_id
        places = pack.positions()
        if first == 0:
            return pack.integers(places)
        # These families count only tokens that are no padding, and all padding has one place: it
        # can stand inside a text whose author spelled it out.
        real = pack.token_ids != pad
        if real.all():
            return pack.integers(places + first)
        before = np.cumsum(real) - real
        starts = np.repeat(before[pack.first_rows()], pack.lengths)
        return pack.integers(np.where(real, before - starts + first, pad))

    def bias(self, length: int) -> torch.Tensor | None:
        """What is added to scores, [heads, n, n] with n >= length; ``None``: nothing."""
        weight = self._weights.relative
        if weight is None:
            return None
        bias = self._bias  # another thread may exchange it meanwhile
        if bias is None or bias.shape[1] < length:
            bias = self._bias = relative_bias(weight, length)
        return bias

    def _norm(self, x: torch.Tensor, norm: Norm) -> torch.Tensor:
        return F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, self.config.norm_eps)
