"""An NPU as a torch device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from sagellm_torch import (
    AttentionConfig,
    CacheShape,
    Decoder,
    DecodeStep,
    DeviceAdapter,
    DeviceMemory,
    DTypeChoice,
    KVCache,
    PrefillStep,
    StepDecoder,
    attention,
)

from sagellm_core.contract import ConfigurationError, InsufficientMemoryError

from .faults import says_lost
from .fused_attention import FusedAttention, fits_blocks, obstacle
from .runtime import Runtime

#: Paged attention counts the numbers of a layer's keys in 32 bits.
_MOST_NUMBERS = 2**31 - 1
_GATED_BY_SILU = frozenset({"silu", "swish"})


class NPUAdapter(DeviceAdapter):
    """Computes by torch_npu's fused operators, and by torch's own where those do not reach.

    :param device: as torch names it: ``npu:0``.
    :param exact: keep weights that are stored in float32 as they are; else they become halves.
    :param options: ``fused_operators``: ``auto``, or ``off``, to compute by torch's own alone.
    :raises ConfigurationError: an option is unknown, or has a value that it cannot have.
    """

    option_names = ("fused_operators",)

    def __init__(
        self,
        device: str,
        runtime: Runtime,
        options: Mapping[str, Any] | None = None,
        *,
        exact: bool = False,
    ) -> None:
        super().__init__(device, options)
        self._runtime = runtime
        self._exact = exact
        self._operators = runtime.operators if self._wants_fused() else None
        self._attention = (
            None
            if self._operators is None
            else FusedAttention(self._operators, self.device, self.upload)
        )
        self._fusable: dict[tuple[AttentionConfig, torch.dtype], bool] = {}
        #: Sentences, in the order in which they became true.
        self._notes: dict[str, None] = {}
        #: Norm weights of 1, by size and type.
        self._ones: dict[tuple[int, torch.dtype], torch.Tensor] = {}
        # Until a decoder has said so.
        self._rotations_fit = False
        if self._wants_fused() and self._operators is None:
            self._note(f"{runtime.chip} has no fused operators: torch's own compute.")

    def _wants_fused(self) -> bool:
        asked = self.options.get("fused_operators", "auto")
        if asked not in ("auto", "off"):
            raise ConfigurationError(
                f"fused_operators={asked!r} is not valid.",
                hint="fused_operators is 'auto' or 'off'.",
            )
        return bool(asked == "auto")

    def _note(self, sentence: str) -> None:
        self._notes.setdefault(sentence)

    @property
    def kernel_notes(self) -> Sequence[str]:
        """What is left to torch's own operators, and why."""
        return tuple(self._notes)

    # --- memory ------------------------------------------------------------------------

    def memory(self) -> DeviceMemory | None:
        """Of the NPU, as its driver counts it."""
        return self._runtime.memory()

    def synchronize(self) -> None:
        """Wait for everything that was queued on the NPU."""
        self._runtime.synchronize()

    def download(self, tensors: Sequence[torch.Tensor]) -> Callable[[], Sequence[torch.Tensor]]:
        """Copies begin at once, and are waited for alone."""
        return self._runtime.download(tensors)

    def is_lost(self, error: BaseException) -> bool:
        """By what CANN and torch_npu say of an NPU that failed; else it is asked for a number."""
        return says_lost(error) or super().is_lost(error)

    def release(self) -> None:
        """Give back memory that is kept between steps, and what torch_npu keeps for later."""
        super().release()
        self._ones.clear()
        if self._attention is not None:
            self._attention.close()
        self._runtime.release()

    def allocate_cache(self, shape: CacheShape) -> KVCache:
        """The kit's: it is what paged attention reads, heads of a token side by side.

        :raises InsufficientMemoryError: it is larger than paged attention can address.
        """
        token = shape.num_kv_heads * shape.head_dim
        largest = _MOST_NUMBERS // token
        if shape.num_blocks * shape.block_size > largest:
            raise InsufficientMemoryError(
                f"A KV cache of {shape.num_blocks * shape.block_size} tokens is more than the "
                f"{largest} that the NPU's attention can address.",
                hint=f"Set num_blocks to at most {largest // shape.block_size}, or "
                "kv_memory_bytes to less.",
            )
        return super().allocate_cache(shape)

    # --- arithmetic --------------------------------------------------------------------

    def choose_dtype(self, asked: str, stored: torch.dtype | None) -> DTypeChoice:
        """Half precision, which the NPU's matrix units and its attention are made for."""
        if asked == "auto":
            if stored is torch.float32 and self._exact:
                return DTypeChoice(torch.float32)
            asked = "float16" if stored is torch.float16 or not self._runtime.bfloat16 else ""
        if asked == "bfloat16" and not self._runtime.bfloat16:
            return DTypeChoice(
                torch.float16,
                f"{self._runtime.chip} does not compute in bfloat16, which was asked for: float16.",
            )
        return super().choose_dtype(asked or "bfloat16", stored)

    def fuse_decoder(self, decoder: Decoder) -> StepDecoder | None:
        """Nothing: it is asked before the first step, and learns what is to be rotated."""
        # The operator's sines and cosines are at most 1; YaRN and LongRoPE scale theirs.
        self._rotations_fit = all(rope.attention_factor <= 1 for rope in decoder.config.ropes)
        if self._operators is not None and not self._rotations_fit:
            self._note("Rotary embeddings run in torch's own operators: the model scales them.")
        return None

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """By ``npu_rms_norm``."""
        if self._operators is None:
            return super().rms_norm(x, weight, eps)
        return self._operators.npu_rms_norm(x.contiguous(), weight, eps)[0]

    def add_rms_norm(
        self, residual: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """By ``npu_add_rms_norm``."""
        if self._operators is None:
            return super().add_rms_norm(residual, x, weight, eps)
        normed, _, total = self._operators.npu_add_rms_norm(
            residual.contiguous(), x.contiguous(), weight, eps
        )
        return total, normed

    def gated_activation(self, gate_up: torch.Tensor, activation: str) -> torch.Tensor:
        """By ``npu_swiglu`` where gates are SiLU."""
        if self._operators is None or activation not in _GATED_BY_SILU:
            return super().gated_activation(gate_up, activation)
        return self._operators.npu_swiglu(gate_up.contiguous(), -1)

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
        """Norms of heads and rotations by the fused operators, too."""
        if self._operators is None:
            return super().attend(qkv, rotations, layer, step, config, qk_norm, eps)
        heads = config.num_heads + config.num_kv_heads
        every = qkv.view(qkv.shape[0], heads + config.num_kv_heads, config.head_dim)
        qk, value = every[:, :heads].contiguous(), every[:, heads:]
        if qk_norm is not None:
            # Weights differ from head to head, which the operator does not know.
            qk = self.rms_norm(qk, self._one(config.head_dim, qk), eps) * qk_norm
        if self._rotations_fit:
            qk = self._rotate(qk, rotations, step)
        else:
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
        """By ``npu_fused_infer_attention_score`` where it has what the model asks for."""
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        self._write(layer, key, value, step.write_index)
        # Chunks that begin their sequences need nothing of the cache, whatever its blocks.
        readable = fits_blocks(layer[0].shape[1]) or not any(each.start for each in step.segments)
        if self._attention is not None and readable and self._fuses(config, query.dtype):
            return self._attention.prefill(query, key, value, layer, step, config)
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
        """By ``npu_fused_infer_attention_score`` where it has what the model asks for."""
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        self._write(layer, key, value, step.write_index)
        readable = fits_blocks(layer[0].shape[1])
        if self._attention is not None and readable and self._fuses(config, query.dtype):
            return self._attention.decode(query, layer, step, config)
        return attention.attend_decode(query, layer, step, config, self._workspace)

    def _fuses(self, config: AttentionConfig, dtype: torch.dtype) -> bool:
        known = self._fusable.get((config, dtype))
        if known is None:
            reason = obstacle(config, dtype, self._runtime.attention_types)
            if reason:
                self._note(f"Attention runs in torch's own operators: {reason}.")
            known = self._fusable[config, dtype] = not reason
        return known

    def _write(
        self,
        layer: tuple[torch.Tensor, torch.Tensor],
        key: torch.Tensor,
        value: torch.Tensor,
        places: torch.Tensor,
    ) -> None:
        if self._operators is None or not self._runtime.writes_caches:
            attention.write(layer, key, value, places)
            return
        self._operators.npu_scatter_pa_kv_cache(key, value, *layer, places, cache_mode="Norm")

    def _rotate(
        self, heads: torch.Tensor, rotations: torch.Tensor, step: PrefillStep | DecodeStep
    ) -> torch.Tensor:
        """By ``npu_rotary_mul``; what it rotates by is prepared once for all layers of a step."""
        name = f"ascend.rotations.{id(rotations)}"
        turns = step.prepared.get(name)
        if turns is None:
            # [T, 1, rotary_dim / 2, 2] -> cosines and sines, each [1, T, 1, rotary_dim]
            parts = rotations.to(heads.dtype).unbind(-1)
            turns = tuple(torch.stack((part, part), -1).flatten(-2).unsqueeze(0) for part in parts)
            step.prepared[name] = turns
        assert self._operators is not None, "only fused operators rotate here"
        cosines, sines = turns
        rotary_dim = cosines.shape[-1]
        turned = heads[..., :rotary_dim].contiguous().unsqueeze(0)
        turned = self._operators.npu_rotary_mul(turned, cosines, sines, "interleave")[0]
        if rotary_dim < heads.shape[-1]:
            turned = torch.cat((turned, heads[..., rotary_dim:]), dim=-1)
        return turned

    def _one(self, size: int, like: torch.Tensor) -> torch.Tensor:
        weight = self._ones.get((size, like.dtype))
        if weight is None:
            weight = self._ones[size, like.dtype] = torch.ones(
                size, dtype=like.dtype, device=like.device
            )
        return weight
