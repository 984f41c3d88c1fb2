"""From a checkpoint's tensors to the encoder's layers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from sagellm_core.contract import UnsupportedModelError
from sagellm_torch.activations import ACTIVATIONS
from sagellm_torch.adapter import DeviceAdapter
from sagellm_torch.architecture import EncoderConfig
from sagellm_torch.checkpoint import Checkpoint
from sagellm_torch.linear import ActivatedLinear, AddedLinear, Linear, ResidualLinear
from sagellm_torch.quantization import int8_group, quantise_int8
from sagellm_torch.tensor_reader import TensorReader

#: Buffers of old checkpoints that are computed, not loaded.
_COMPUTED = re.compile(r"embeddings\.(position_ids|token_type_ids)$")


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm's weight and bias, each [hidden]."""

    weight: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderLayer:
    """One layer: attention and a feed-forward network, each normed after its addition."""

    qkv: Linear
    output: ResidualLinear
    attention_norm: Norm
    up: Linear
    down: ResidualLinear
    output_norm: Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderWeights:
    """All weights of an encoder, on the device."""

    #: [vocab, hidden].
    words: torch.Tensor
    #: [positions, hidden]; the one segment that a single text has is added already.
    positions: torch.Tensor
    norm: Norm
    layers: list[EncoderLayer]
    #: [buckets, heads], or ``None``.
    relative: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class _Names:
    """What a family calls the parts of a layer."""

    layer: str
    qkv: tuple[str, str, str]
    output: str
    attention_norm: str
    up: str
    down: str
    output_norm: str


_BERT = _Names(
    "encoder.layer",
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_DISTILBERT = _Names(
    "transformer.layer",
    ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)
_MPNET = _Names(
    "encoder.layer",
    ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
    "attention.attn.o",
    "attention.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_FAMILIES = {"distilbert": _DISTILBERT, "mpnet": _MPNET}


def load_encoder_weights(
    checkpoint: Checkpoint,
    config: EncoderConfig,
    adapter: DeviceAdapter,
    dtype: torch.dtype,
    on_bytes: Callable[[int], None],
    *,
    int8: bool = False,
) -> EncoderWeights:
    """Read every tensor that the encoder needs and prepare it for the device.

    Poolers and heads for pretraining, which lie beside it, are left alone.

    :param int8: linear layers compute with 8-bit weights, one scale for each output, and inputs
        rounded to int8, one scale for each token.

    :raises ModelFormatError: a tensor is missing, or its shape is not what the config says.
    :raises UnsupportedModelError: its layers have tensors that the encoder has no use for.
    """
    return _Reader(checkpoint, config, adapter, dtype, on_bytes, int8=int8).read()


class _Reader(TensorReader):
    def __init__(
        self,
        checkpoint: Checkpoint,
        config: EncoderConfig,
        adapter: DeviceAdapter,
        dtype: torch.dtype,
        on_bytes: Callable[[int], None],
        *,
        int8: bool,
    ) -> None:
        super().__init__(checkpoint, adapter, dtype, on_bytes)
        self._int8 = int8
        self._config = config
        self._family = _FAMILIES.get(config.model_type, _BERT)
        # A model with a head keeps the encoder under the family's name: "bert.encoder.layer...".
        self._prefix = next(
            (
                name.removesuffix("embeddings.word_embeddings.weight")
                for name in sorted(self.names, key=len)
                if name.endswith("embeddings.word_embeddings.weight")
            ),
            "",
        )

    def read(self) -> EncoderWeights:
        config = self._config
        hidden = config.hidden_size
        table = f"{self._prefix}embeddings"
        positions = self.take(f"{table}.position_embeddings.weight", config.position_rows, hidden)
        if config.segment_rows:
            segments = self.take(
                f"{table}.token_type_embeddings.weight", config.segment_rows, hidden
            )
            positions = positions + segments[0]
        relative = None
        if config.relative_buckets:
            relative = self.take(
                f"{self._prefix}encoder.relative_attention_bias.weight",
                config.relative_buckets,
                config.num_heads,
            )
        weights = EncoderWeights(
            words=self.take(f"{table}.word_embeddings.weight", config.vocab_size, hidden),
            positions=positions,
            norm=self._norm(f"{table}.LayerNorm"),
            layers=[self._layer(index) for index in range(config.num_layers)],
            relative=relative,
        )
        self._refuse_leftovers()
        return weights

    def _layer(self, index: int) -> EncoderLayer:
        names, config = self._family, self._config
        prefix = f"{self._prefix}{names.layer}.{index}"
        hidden, inner = config.hidden_size, config.intermediate_size
        parts = [self._take_linear(f"{prefix}.{part}", hidden, hidden) for part in names.qkv]
        output = self._take_linear(f"{prefix}.{names.output}", hidden, hidden)
        up = self._take_linear(f"{prefix}.{names.up}", inner, hidden)
        down = self._take_linear(f"{prefix}.{names.down}", hidden, inner)
        merged = [weight for weight, _ in parts], [bias for _, bias in parts]
        return EncoderLayer(
            qkv=self._rounded(*merged) if self._int8 else self._adapter.fusible_linear(*merged),
            output=self._residual(*output),
            attention_norm=self._norm(f"{prefix}.{names.attention_norm}"),
            up=self._activated(*up),
            down=self._residual(*down),
            output_norm=self._norm(f"{prefix}.{names.output_norm}"),
        )

    def _residual(self, weight: torch.Tensor, bias: torch.Tensor) -> ResidualLinear:
        if self._int8:
            return AddedLinear(self._rounded([weight], [bias]))
        return self._adapter.residual_linear(weight, bias)

    def _activated(self, weight: torch.Tensor, bias: torch.Tensor) -> Linear:
        activation = self._config.activation
        if self._int8:
            return ActivatedLinear(self._rounded([weight], [bias]), ACTIVATIONS[activation])
        return self._adapter.activated_linear(weight, bias, activation)

    def _rounded(self, weights: list[torch.Tensor], biases: list[torch.Tensor]) -> Linear:
        codes = [quantise_int8(weight, int8_group(weight.shape[1])) for weight in weights]
        return self._adapter.quantized_linear(codes, biases, exact=False)

    def _take_linear(self, prefix: str, out: int, into: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.take(f"{prefix}.weight", out, into), self.take(f"{prefix}.bias", out)

    def _norm(self, prefix: str) -> Norm:
        hidden = self._config.hidden_size
        # Checkpoints that came from TensorFlow have its names.
        old = f"{prefix}.gamma" in self.names
        weight, bias = ("gamma", "beta") if old else ("weight", "bias")
        return Norm(self.take(f"{prefix}.{weight}", hidden), self.take(f"{prefix}.{bias}", hidden))

    def _refuse_leftovers(self) -> None:
        parts = tuple(f"{self._prefix}{part}." for part in ("embeddings", "encoder", "transformer"))
        left = sorted(
            name
            for name in self.names - self.used
            if name.startswith(parts) and not _COMPUTED.search(name)
        )
        if left:
            shown = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
            raise UnsupportedModelError(
                f"The checkpoint has tensors that a {self._config.model_type!r} encoder has no use "
                f"for: {shown}.",
                hint="Its weights are of another architecture than its config says.",
            )
