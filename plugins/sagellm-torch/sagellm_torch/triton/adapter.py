"""A device that triton compiles for: the kit's kernels in the places of its plain operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sagellm_core.contract import ConfigurationError
from sagellm_torch.adapter import DeviceAdapter
from sagellm_torch.attention import AttentionConfig
from sagellm_torch.kv_cache import CacheShape, KVCache
from sagellm_torch.step import DecodeStep, PrefillStep

from .presence import triton_problem
from .tiles import AttentionTile, TileTable

#: More query heads share a key-value head in no model.
_MOST_GROUPS = 128


class TritonAdapter(DeviceAdapter):
    """What all devices that triton compiles for have in common.

    Without triton, and for heads that no tile is for, it computes with the kit's plain operators;
    :attr:`kernel_notes` says so.

    :param tiles: block sizes that are right for the device.
    :param options: ``triton`` (``auto``, ``on`` or ``off``): whether the kernels compute; ``on``
        refuses to go on without them.
    :raises ConfigurationError: an option is unknown, or has a value that it cannot have.
    """

    option_names: Sequence[str] = ("triton",)

    #: Why the kernels do not compute, for the user.
    _note: str = ""

    def __init__(self, device: str, options: Mapping[str, Any] | None, tiles: TileTable) -> None:
        super().__init__(device, options)
        self.tiles = tiles
        self._ready = self._wants_kernels()

    def _switch(self, option: str) -> str:
        """``auto``, ``on`` or ``off``."""
        asked = self.options.get(option, "auto")
        if isinstance(asked, bool):  # YAML reads a bare on and off as that
            asked = "on" if asked else "off"
        if asked not in ("auto", "on", "off"):
            raise ConfigurationError(
                f"{option}={asked!r} is not valid.", hint=f"{option} is 'auto', 'on' or 'off'."
            )
        return str(asked)

    def _wants_kernels(self) -> bool:
        asked = self._switch("triton")
        if asked == "off":
            return False
        problem = triton_problem()
        if problem and asked == "on":
            raise ConfigurationError(
                f"triton='on' was asked for, and {problem}.",
                hint="Install triton, or leave the option out.",
            )
        if problem:
            self._note = f"Slower operators of torch compute, because {problem}."
        return not problem

    @property
    def kernels_ready(self) -> bool:
        """Whether there are kernels to compute with."""
        return self._ready

    @property
    def kernel_notes(self) -> Sequence[str]:
        """Why the kernels do not compute, where they do not."""
        return (*super().kernel_notes, *((self._note,) if self._note else ()))

    def computes(self, head_dim: int, dtype: torch.dtype, groups: int = 1) -> bool:
        """Whether the kernels compute attention of heads of this size.

        :param groups: query heads of a key-value head.
        """
        return self._ready and isinstance(self._tile(head_dim, dtype, groups), AttentionTile)

    def _tile(self, head_dim: int, dtype: torch.dtype, groups: int) -> AttentionTile | LookupError:
        """Of a prefill, where there is one of a decode step too."""
        try:
            self.tiles.decode_tile(head_dim, dtype.itemsize, groups)
            return self.tiles.prefill_tile(head_dim, dtype.itemsize)
        except LookupError as error:
            return error

    def _tile_of(
        self, config: AttentionConfig, dtype: torch.dtype, step: PrefillStep | DecodeStep
    ) -> AttentionTile | None:
        """``None``: plain operators compute.

        :raises RuntimeError: the step is to be recorded, and they do.
        """
        if self._ready:
            tile = self._tile(config.head_dim, dtype, config.num_heads // config.num_kv_heads)
            if isinstance(tile, AttentionTile):
                return tile
            self._note = f"Slower operators of torch compute attention. {tile}"
        if isinstance(step, DecodeStep) and not step.contexts:
            raise RuntimeError("torch's own operators read the lengths of sequences on the host.")
        return None

    def allocate_cache(self, shape: CacheShape) -> KVCache:
        """A cache whose new blocks need not be cleared, where the kernels read it."""
        if self.computes(shape.head_dim, shape.dtype, _MOST_GROUPS):
            return MaskedCache(shape, self.device)
        return super().allocate_cache(shape)

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """In one kernel."""
        if not self._ready or x.dim() != 2 or x.stride(1) != 1:
            return super().rms_norm(x, weight, eps)
        from . import rows

        return rows.rms_norm(x, weight, eps, self.tiles)

    def add_rms_norm(
        self, residual: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """In one kernel; ``residual`` is overwritten."""
        if not self._ready:
            return super().add_rms_norm(residual, x, weight, eps)
        from . import rows

        return residual, rows.add_rms_norm(residual, x, weight, eps, self.tiles)

    def gated_activation(self, gate_up: torch.Tensor, activation: str) -> torch.Tensor:
        """In one kernel."""
        if not self._ready:
            return super().gated_activation(gate_up, activation)
        from . import rows

        return rows.gated_activation(gate_up, activation, self.tiles)

    def attend(
        self,
        qkv: torch.Tensor,
        rotations: torch.Tensor,
        layer: tuple[torch.Tensor, torch.Tensor],
        step: PrefillStep | DecodeStep,
        config: AttentionConfig,
        qk_norm: torch.Tensor | None,
        eps: float,
    ) -> torch.Tensor:
        """In one kernel up to attention, which is one or two."""
        tile = self._tile_of(config, qkv.dtype, step)
        if tile is None:
            return super().attend(qkv, rotations, layer, step, config, qk_norm, eps)
        from . import rows

        query = rows.rotate_and_write(
            qkv, rotations, layer, step.write_index, config, qk_norm, eps, self.tiles
        )
        return self._attend(query, layer, step, config, tile)

    def attend_prefill(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        layer: tuple[torch.Tensor, torch.Tensor],
        step: PrefillStep,
        config: AttentionConfig,
    ) -> torch.Tensor:
        """For models that rotate by themselves."""
        tile = self._tile_of(config, query.dtype, step)
        if tile is None:
            return super().attend_prefill(query, key, value, layer, step, config)
        return self._write_and_attend(query, key, value, layer, step, config, tile)

    def attend_decode(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        layer: tuple[torch.Tensor, torch.Tensor],
        step: DecodeStep,
        config: AttentionConfig,
    ) -> torch.Tensor:
        """For models that rotate by themselves."""
        tile = self._tile_of(config, query.dtype, step)
        if tile is None:
            return super().attend_decode(query, key, value, layer, step, config)
        return self._write_and_attend(query, key, value, layer, step, config, tile)

    def _write_and_attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        layer: tuple[torch.Tensor, torch.Tensor],
        step: PrefillStep | DecodeStep,
        config: AttentionConfig,
        tile: AttentionTile,
    ) -> torch.Tensor:
        from . import rows

        rows.write(key, value, layer, step.write_index, self.tiles)
        return self._attend(query.flatten(1), layer, step, config, tile)

    def _attend(
        self,
        query: torch.Tensor,
        layer: tuple[torch.Tensor, torch.Tensor],
        step: PrefillStep | DecodeStep,
        config: AttentionConfig,
        tile: AttentionTile,
    ) -> torch.Tensor:
        from . import attention

        if isinstance(step, DecodeStep):
            return attention.attend_decode(query, layer, step, config, self.tiles)
        return attention.attend_prefill(query, layer, step, config, tile, self.upload)


class MaskedCache(KVCache):
    """A KV cache of which nothing is read that was not written."""

    def clear(self, block: int, offset: int) -> None:
        """Nothing to do: the kernels do not load what lies past a sequence."""
