"""Models by their sizes alone: their weights are random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagellm_torch.architecture import DecoderConfig, read_decoder_config

_QWEN3: Mapping[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "head_dim": 128,
    "hidden_act": "silu",
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000,
    "attention_bias": False,
    "vocab_size": 151936,
    "torch_dtype": "bfloat16",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's config, and what it is called in reports."""

    name: str
    config: Mapping[str, Any]

    @property
    def decoder(self) -> DecoderConfig:
        """The same as the kit reads it."""
        return read_decoder_config(self.config)

    def step_weight_bytes(self, itemsize: int) -> int:
        """Bytes of weights that a decode step reads: all but an embedding of its own."""
        decoder = self.decoder
        looked_up = 0 if decoder.tie_word_embeddings else decoder.embedding_count
        return (decoder.parameter_count - looked_up) * itemsize

    def token_bytes(self, itemsize: int) -> int:
        """Bytes of keys and values of one token."""
        return self.decoder.kv_elements_per_token * itemsize


#: As published in the models' own config.json.
QWEN3_0_6B = Shape(
    "Qwen3-0.6B",
    {
        **_QWEN3,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
)
QWEN3_8B = Shape(
    "Qwen3-8B",
    {
        **_QWEN3,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": False,
    },
)


def tiny(shape: Shape) -> Shape:
    """A model of the same kind that a CPU computes in no time."""
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 512,
        "max_position_embeddings": 2048,
    }
    return Shape(f"{shape.name}, tiny", {**shape.config, **sizes})
