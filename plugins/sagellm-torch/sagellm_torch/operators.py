"""What a torch device does in a step: copies from the host, norms, activations, attention.

Every method has a body in plain torch operators, which is right on any torch device; a vendor
overrides those that its device does better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F

from . import attention
from .activations import ACTIVATIONS
from .attention import AttentionConfig, GatherWorkspace
from .embedding.full_attention import attend_full
from .embedding.pack import Group
from .rotary import rotate
from .step import DecodeStep, PrefillStep


class DeviceOperators:
    """The arithmetic of a step; :class:`~sagellm_torch.adapter.DeviceAdapter` has the rest."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._workspace = GatherWorkspace()

    def current(self) -> AbstractContextManager[Any]:
        """Around every call that allocates or computes, in the thread that makes it.

        For devices that launch kernels on the thread's current device.
        """
        return nullcontext()

    def upload(self, values: Sequence[float], dtype: torch.dtype = torch.int64) -> torch.Tensor:
        """Numbers of the host on the device, [len(values)], without waiting for it."""
        return torch.tensor(values, dtype=dtype).to(self.device, non_blocking=True)

    def download(self, tensors: Sequence[torch.Tensor]) -> Callable[[], Sequence[torch.Tensor]]:
        """Tensors on their way to the host; the function that this returns waits for them.

        Asked for as soon as what they hold was queued, and waited for when the step is read. By
        default they are copied then, behind everything that was queued by then. A device with
        events starts the copies at once and waits for nothing but these.
        """
        return lambda: [tensor.cpu() for tensor in tensors]

    def argmax(self, logits: torch.Tensor) -> torch.Tensor:
        """The first of the largest logits of each row, [R, vocab] -> [R]."""
        return logits.argmax(-1)

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """``x / sqrt(mean(x^2) + eps) * weight`` over the last dimension: a new tensor."""
        return F.rms_norm(x, weight.shape, weight, eps)

    def add_rms_norm(
        self, residual: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``residual + x``, and its :meth:`rms_norm`, each [T, hidden].

        ``residual`` may be overwritten; ``x`` may too.
        """
        total = residual + x
        return total, self.rms_norm(total, weight, eps)

    def gated_activation(self, gate_up: torch.Tensor, activation: str) -> torch.Tensor:
        """``activation(gate) * up``, [T, 2 * intermediate] -> [T, intermediate].

        :param gate_up: gates, then what they let through.
        :param activation: a key of :data:`sagellm_torch.activations.ACTIVATIONS`.
        """
        gate, up = gate_up.chunk(2, dim=-1)
        return ACTIVATIONS[activation](gate).mul_(up)

    def rotate(self, heads: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
        """Rotate heads [T, heads, head_dim] by [T, 1, rotary_dim / 2, 2]: a new tensor."""
        return rotate(heads, rotations)

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
        """From queries, keys and values as a layer computes them to attention's output.

        Norms each query and key head where the model does, rotates them, and goes on with
        :meth:`attend_prefill` or :meth:`attend_decode`. A device with one kernel for several of
        these overrides this.

        :param qkv: [T, (num_heads + 2 * num_kv_heads) * head_dim]; may be overwritten.
        :param rotations: [T, 1, rotary_dim / 2, 2], float32.
        :param layer: keys and values, each [num_blocks, block_size, num_kv_heads, head_dim].
        :param qk_norm: norm weights, [num_heads + num_kv_heads, head_dim], or ``None``.
        :returns: [T, num_heads * head_dim].
        """
        heads = config.num_heads + config.num_kv_heads
        every = qkv.view(qkv.shape[0], heads + config.num_kv_heads, config.head_dim)
        qk, value = every[:, :heads], every[:, heads:]
        if qk_norm is not None:
            qk = F.rms_norm(qk, (config.head_dim,), None, eps) * qk_norm
        qk = self.rotate(qk, rotations)
        query, key = qk[:, : config.num_heads], qk[:, config.num_heads :]
        if isinstance(step, DecodeStep):
            return self.attend_decode(query, key, value, layer, step, config)
        return self.attend_prefill(query, key, value, layer, step, config)

    def attend_prefill(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        layer: tuple[torch.Tensor, torch.Tensor],
        step: PrefillStep,
        config: AttentionConfig,
    ) -> torch.Tensor:
        """Write a prefill's keys and values into the cache, and attend.

        :param query: [T, num_heads, head_dim]; ``key``, ``value``: [T, num_kv_heads, head_dim].
        :returns: [T, num_heads * head_dim].
        """
        attention.write(layer, key, value, step.write_index)
        return attention.attend_prefill(query, key, value, layer, step, config, self._workspace)

    def attend_decode(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        layer: tuple[torch.Tensor, torch.Tensor],
        step: DecodeStep,
        config: AttentionConfig,
    ) -> torch.Tensor:
        """Write one key and value a sequence into the cache, and attend.

        :param query: [B, num_heads, head_dim]; ``key``, ``value``: [B, num_kv_heads, head_dim].
        :returns: [B, num_heads * head_dim].
        """
        attention.write(layer, key, value, step.write_index)
        return attention.attend_decode(query, layer, step, config, self._workspace)

    def attend_full(
        self,
        qkv: torch.Tensor,
        groups: Sequence[Group],
        num_heads: int,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """Attend within packed texts, every token to every other of its text: encoders.

        :param qkv: [T, 3 * num_heads * head_dim]: queries, keys and values side by side.
        :param groups: texts of one length, which lie side by side, longest first. Rows after
            the last group are filling, and what comes out there must be finite.
        :param bias: added to scaled scores, [num_heads, longest, longest], or ``None``.
        :returns: [T, num_heads * head_dim].
        """
        return attend_full(qkv, groups, num_heads, bias)
