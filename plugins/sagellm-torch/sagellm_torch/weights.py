"""From a checkpoint's tensors to the decoder's layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch

from sagellm_core.contract import UnsupportedModelError

from .adapter import DeviceAdapter
from .architecture import DecoderConfig
from .checkpoint import Checkpoint
from .linear import DenseEmbedding, EmbeddingTable, Linear
from .quantization import Part, QuantizationPlan, QuantizedWeight, alike
from .rotary import interleave_pairs
from .tensor_reader import TensorReader

#: The output layer, which checkpoints of base models do not have.
HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"
#: Buffers of old checkpoints that are computed, not loaded.
_COMPUTED = re.compile(r"rotary_emb\.(inv_freq|cos_cached|sin_cached)$|\.masked_bias$")


@dataclass(slots=True, kw_only=True)
class LayerWeights:
    """One decoder layer."""

    qkv: Linear
    output: Linear
    gate_up: Linear
    down: Linear
    #: Norm weights, [hidden].
    attention_norm: torch.Tensor
    mlp_norm: torch.Tensor
    #: Norms of what attention and the MLP add, or ``None``.
    post_attention_norm: torch.Tensor | None
    post_mlp_norm: torch.Tensor | None
    #: [num_heads + num_kv_heads, head_dim]: each head's norm weight, or ``None``.
    qk_norm: torch.Tensor | None


@dataclass(slots=True, kw_only=True, weakref_slot=True)
class DecoderWeights:
    """All weights of a model, on the device."""

    embedding: EmbeddingTable
    layers: list[LayerWeights]
    final_norm: torch.Tensor
    #: ``None``: the checkpoint has no output layer, so the model only embeds.
    head: Linear | None


def load_weights(
    checkpoint: Checkpoint,
    config: DecoderConfig,
    adapter: DeviceAdapter,
    dtype: torch.dtype,
    plan: QuantizationPlan,
    on_bytes: Callable[[int], None],
) -> DecoderWeights:
    """Read every tensor that the decoder needs, one at a time, and prepare it for the device.

    :param plan: what becomes of the linear layers' weights.
    :param on_bytes: told the bytes of each tensor as it is read.
    :raises ModelFormatError: a tensor is missing, or its shape is not what the config says.
    :raises UnsupportedModelError: the layers have tensors that the decoder has no use for, so
        they are of another architecture than the config says.
    """
    reader = _Reader(checkpoint, config, adapter, dtype, plan, on_bytes)
    size = config.vocab_size, config.hidden_size
    embedding: EmbeddingTable
    head: Linear | None
    if config.tie_word_embeddings:
        embedding, head = adapter.tied_linear(reader.tied(EMBEDDING, *size), exact=plan.exact)
        reader.used.add(HEAD)
    else:
        embedding = DenseEmbedding(reader.take(EMBEDDING, *size))
        head = reader.head(*size) if HEAD in reader.names else None
    layers = [reader.layer(index) for index in range(config.num_layers)]
    final_norm = reader.norm("model.norm")
    _refuse_leftovers(reader.names, reader.used, config)
    return DecoderWeights(embedding=embedding, layers=layers, final_norm=final_norm, head=head)


def _refuse_leftovers(names: Collection[str], used: set[str], config: DecoderConfig) -> None:
    # A tensor without a place in the decoder (an extra norm, a bias, attention sinks) means
    # mathematics that would be left out without a word.
    left = sorted(
        name
        for name in names
        if name not in used
        and name.startswith(("model.", "lm_head."))
        and not _COMPUTED.search(name)
    )
    if left:
        shown = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        raise UnsupportedModelError(
            f"The checkpoint has tensors that a {config.model_type!r} decoder has no use for: "
            f"{shown}.",
            hint="Its weights are of another architecture than its config says.",
        )


class _Reader(TensorReader):
    def __init__(
        self,
        checkpoint: Checkpoint,
        config: DecoderConfig,
        adapter: DeviceAdapter,
        dtype: torch.dtype,
        plan: QuantizationPlan,
        on_bytes: Callable[[int], None],
    ) -> None:
        super().__init__(checkpoint, adapter, dtype, on_bytes)
        self._config = config
        self._plan = plan

    def norm(self, prefix: str, size: int | None = None) -> torch.Tensor:
        """A norm's weight, ready to multiply with."""
        weight = self.take(f"{prefix}.weight", size or self._config.hidden_size)
        return weight + self._config.norm_offset if self._config.norm_offset else weight

    def layer(self, index: int) -> LayerWeights:
        config = self._config
        prefix = f"model.layers.{index}"
        sandwich = config.sandwich_norms
        before_mlp = "pre_feedforward_layernorm" if sandwich else "post_attention_layernorm"
        return LayerWeights(
            qkv=self._qkv(
                f"{prefix}.self_attn", config.ropes[config.layers[index].rope].rotary_dim
            ),
            output=self._plain(
                f"{prefix}.self_attn.o_proj",
                config.hidden_size,
                config.query_size,
                bias=config.output_bias,
            ),
            gate_up=self._gate_up(f"{prefix}.mlp"),
            down=self._plain(
                f"{prefix}.mlp.down_proj",
                config.hidden_size,
                config.intermediate_size,
                bias=config.mlp_bias,
            ),
            attention_norm=self.norm(f"{prefix}.input_layernorm"),
            mlp_norm=self.norm(f"{prefix}.{before_mlp}"),
            post_attention_norm=self.norm(f"{prefix}.post_attention_layernorm")
            if sandwich
            else None,
            post_mlp_norm=self.norm(f"{prefix}.post_feedforward_layernorm") if sandwich else None,
            qk_norm=self._qk_norm(f"{prefix}.self_attn", config.layers[index].rope)
            if config.qk_norm
            else None,
        )

    def head(self, vocab: int, hidden: int) -> Linear:
        """The output layer."""
        return self._linear([self._weight(HEAD, vocab, hidden, head=True)], [None])

    def tied(self, name: str, vocab: int, hidden: int) -> Part:
        """The weight that is both embedding and output layer."""
        return self._weight(name, vocab, hidden, head=True)

    def _weight(self, name: str, out: int, inputs: int, *, head: bool = False) -> Part:
        weight: Part | None = None
        if self._plan.takes_codes:
            weight = self.take_codes(name, out, inputs)
        if weight is None:
            weight = self.take(name, out, inputs)
        return self._plan.part(weight, self.stored_type(name), head=head)

    def _linear(self, parts: Sequence[Part], biases: Sequence[torch.Tensor | None]) -> Linear:
        weights = alike(parts)
        first = weights[0]
        if isinstance(first, QuantizedWeight):
            coded = [weight for weight in weights if isinstance(weight, QuantizedWeight)]
            return self._adapter.quantized_linear(coded, biases, exact=self._plan.exact)
        plain = [weight for weight in weights if isinstance(weight, torch.Tensor)]
        return self._adapter.fusible_linear(plain, biases)

    def _plain(self, prefix: str, out_size: int, in_size: int, *, bias: bool) -> Linear:
        weight = self._weight(f"{prefix}.weight", out_size, in_size)
        return self._linear([weight], [self._bias(prefix, out_size, bias)])

    def _bias(self, prefix: str, size: int, wanted: bool) -> torch.Tensor | None:
        return self.take(f"{prefix}.bias", size) if wanted else None

    def _qkv(self, prefix: str, rotary_dim: int) -> Linear:
        config = self._config
        sizes = [config.query_size, config.kv_size, config.kv_size]
        weights: list[Part]
        if f"{prefix}.qkv_proj.weight" in self.names:
            fused = self._weight(f"{prefix}.qkv_proj.weight", sum(sizes), config.hidden_size)
            weights = list(
                fused.split(sizes)
                if isinstance(fused, QuantizedWeight)
                else torch.split(fused, sizes)
            )
            fused_bias = self._bias(f"{prefix}.qkv_proj", sum(sizes), config.qkv_bias)
            biases: list[torch.Tensor | None] = [None] * 3
            if fused_bias is not None:
                biases = list(torch.split(fused_bias, sizes))
        else:
            parts = [f"{prefix}.{name}_proj" for name in "qkv"]
            weights = [
                self._weight(f"{part}.weight", size, config.hidden_size)
                for part, size in zip(parts, sizes, strict=True)
            ]
            biases = [
                self._bias(part, size, config.qkv_bias)
                for part, size in zip(parts, sizes, strict=True)
            ]

        def interleaved(rows: torch.Tensor) -> torch.Tensor:
            return interleave_pairs(rows, config.head_dim, rotary_dim)

        for i in (0, 1):  # queries and keys; values are not rotated
            weight, bias = weights[i], biases[i]
            weights[i] = (
                weight.reordered(interleaved)
                if isinstance(weight, QuantizedWeight)
                else interleaved(weight)
            )
            if bias is not None:
                biases[i] = interleaved(bias)
        return self._linear(weights, biases)

    def _gate_up(self, prefix: str) -> Linear:
        config = self._config
        size = config.intermediate_size
        if f"{prefix}.gate_up_proj.weight" in self.names:
            return self._plain(
                f"{prefix}.gate_up_proj", 2 * size, config.hidden_size, bias=config.mlp_bias
            )
        parts = [f"{prefix}.gate_proj", f"{prefix}.up_proj"]
        weights = [self._weight(f"{part}.weight", size, config.hidden_size) for part in parts]
        biases = [self._bias(part, size, config.mlp_bias) for part in parts]
        return self._linear(weights, biases)

    def _qk_norm(self, prefix: str, rope: int) -> torch.Tensor:
        config = self._config
        rotary_dim = config.ropes[rope].rotary_dim
        query, key = (
            interleave_pairs(
                self.norm(f"{prefix}.{name}_norm", config.head_dim), config.head_dim, rotary_dim
            )
            for name in "qk"
        )
        heads = (
            query.expand(config.num_heads, config.head_dim),
            key.expand(config.num_kv_heads, config.head_dim),
        )
        return torch.cat(heads)
