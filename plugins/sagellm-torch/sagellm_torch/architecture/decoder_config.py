"""The parameters of the one decoder."""

from __future__ import annotations

from dataclasses import dataclass

from .rope_config import RopeConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """What may differ from layer to layer."""

    #: A token attends to itself and the ``sliding_window - 1`` tokens before it; ``None``: all.
    sliding_window: int | None = None
    #: Index into :attr:`DecoderConfig.ropes`.
    rope: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Everything that the decoder has to know about a model; sizes in elements."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_position_embeddings: int
    layers: tuple[LayerConfig, ...]
    ropes: tuple[RopeConfig, ...]
    norm_eps: float
    #: Added to every norm weight: 1 for Gemma, whose weights are stored as their distance to 1.
    norm_offset: float = 0.0
    #: Also norm the outputs of attention and of the MLP, before they are added (Gemma 2 and 3).
    sandwich_norms: bool = False
    #: RMS-norm each query and key head before the rotation (Qwen3, Gemma 3).
    qk_norm: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    activation: str = "silu"
    embedding_scale: float = 1.0
    attention_scale: float
    #: Scores become ``cap * tanh(score / cap)`` before the mask (Gemma 2).
    attention_softcap: float | None = None
    #: The same for the logits.
    logit_softcap: float | None = None
    tie_word_embeddings: bool = False

    @property
    def num_layers(self) -> int:
        """Number of decoder layers."""
        return len(self.layers)

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.num_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.num_kv_heads * self.head_dim

    @property
    def kv_elements_per_token(self) -> int:
        """Elements that one token takes in the KV cache, over all layers."""
        return 2 * self.num_layers * self.kv_size

    @property
    def parameter_count(self) -> int:
        """Number of weights; tied embeddings are counted once. Biases are left out."""
        attention = self.hidden_size * (2 * self.query_size + 2 * self.kv_size)
        layer = attention + 3 * self.hidden_size * self.intermediate_size
        embeddings = self.embedding_count * (1 if self.tie_word_embeddings else 2)
        return self.num_layers * layer + embeddings

    @property
    def embedding_count(self) -> int:
        """Number of weights in the token embedding."""
        return self.vocab_size * self.hidden_size
