"""Token vectors of a decoder: a prefill whose cache nobody reads again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sagellm_torch.device_errors import device_errors
from sagellm_torch.kv_cache import CacheShape, KVCache
from sagellm_torch.model import DecoderModel
from sagellm_torch.rotary import RotaryTable
from sagellm_torch.step import PrefillStep, Segment

from .pack import Pack

_BLOCK = 16


class DecoderStates:
    """Runs a decoder over whole texts, with causal attention.

    Adapters attend over a KV cache. Nothing here comes back to a layer's keys once the layer is
    done, so all layers share the memory of one.

    :param longest: tokens of the longest text.
    """

    def __init__(self, model: DecoderModel, longest: int) -> None:
        self._model = model
        self._adapter = model.adapter
        self._longest = longest
        self._ropes: list[RotaryTable] = []
        self._cache: KVCache | None = None

    def hidden_states(self, pack: Pack, rows: torch.Tensor | None) -> torch.Tensor:
        """Token vectors after the last norm, [T, hidden].

        :param rows: rows of ``T`` that are wanted; ``None``: all.
        """
        blocks = [-(-length // _BLOCK) for length in pack.lengths]
        step = PrefillStep(
            tokens=pack.tokens,
            rotations=tuple(table.rotations(self._turns(table, pack)) for table in self._tables()),
            write_index=self._places(pack, blocks),
            segments=self._segments(pack, blocks),
            logits_index=rows,
        )
        return self._model.decoder.hidden_states(step, self._room(sum(blocks)))

    def close(self) -> None:
        """Give the memory back. May be called twice."""
        if self._cache is not None:
            self._cache.close()
        self._cache = None
        self._ropes = []

    def _tables(self) -> list[RotaryTable]:
        if not self._ropes:
            self._ropes = [
                RotaryTable(rope, self._longest, self._adapter.device)
                for rope in self._model.config.ropes
            ]
        return self._ropes

    def _turns(self, table: RotaryTable, pack: Pack) -> torch.Tensor:
        turns = pack.positions()
        switch = table.switch_length
        long = 0 if switch is None else sum(length > switch for length in pack.lengths)
        # Texts come longest first, so those past the switch lie at the front.
        turns[: sum(pack.lengths[:long])] += table.first_row(long=True)
        return pack.integers(turns)

    def _places(self, pack: Pack, blocks: Sequence[int]) -> torch.Tensor:
        padding = [
            count * _BLOCK - length for count, length in zip(blocks, pack.lengths, strict=True)
        ]
        skipped = np.repeat(np.cumsum([0, *padding[:-1]]), pack.lengths)
        return pack.integers(np.arange(len(pack.token_ids)) + skipped)

    def _segments(self, pack: Pack, blocks: Sequence[int]) -> tuple[Segment, ...]:
        segments = []
        first = block = 0
        every = torch.arange(sum(blocks), device=pack.device)
        for length, count in zip(pack.lengths, blocks, strict=True):
            segments.append(
                Segment(
                    first=first,
                    count=length,
                    start=0,
                    blocks=every[block : block + count],
                    run=block,
                )
            )
            first, block = first + length, block + count
        return tuple(segments)

    def _room(self, blocks: int) -> KVCache:
        if self._cache is None or self._cache.shape.num_blocks < blocks:
            self.close_cache()
            config = self._model.config
            shape = CacheShape(
                num_layers=1,
                num_blocks=blocks,
                block_size=_BLOCK,
                num_kv_heads=config.num_kv_heads,
                head_dim=config.head_dim,
                dtype=self._model.torch_dtype,
            )
            with device_errors(self._adapter):
                cache = self._adapter.allocate_cache(shape)
            cache.layers = cache.layers * config.num_layers
            self._cache = cache
        return self._cache

    def close_cache(self) -> None:
        """Give back the cache alone."""
        if self._cache is not None:
            self._cache.close()
        self._cache = None
