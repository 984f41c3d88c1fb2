"""The families of tiny models: what their config.json holds. Imports no NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

#: Special tokens stand first; then one token for each byte; then some that no text needs, as in
#: vocabularies that were padded for the sake of kernels.
PAD, BEGIN, END, FIRST_BYTE = 0, 1, 2, 3
VOCAB_SIZE: Final = 272

_SHARED: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "pad_token_id": PAD,
    "torch_dtype": "float32",
}
_DECODER: dict[str, Any] = {
    **_SHARED,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    # Room for two blocks of 128 tokens and an answer.
    "max_position_embeddings": 512,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "use_cache": True,
    "tie_word_embeddings": False,
    "bos_token_id": BEGIN,
    "eos_token_id": END,
}


@dataclass(frozen=True, slots=True)
class Family:
    """One model type."""

    model_type: str
    #: Its config.json.
    config: dict[str, Any]
    #: Seed of its weights, chosen so that no greedy choice of the suite hangs on rounding.
    seed: int

    @property
    def is_encoder(self) -> bool:
        """Whether it only embeds."""
        return self.model_type == "bert"


def _decoder(model_type: str, architecture: str, seed: int, **changes: Any) -> Family:
    config = {**_DECODER, "model_type": model_type, "architectures": [architecture], **changes}
    return Family(model_type, config, seed)


#: By model type, in the order in which they are tried.
FAMILIES: Final[dict[str, Family]] = {
    family.model_type: family
    for family in (
        # Grouped-query attention (arXiv:2302.13971, arXiv:2305.13245).
        _decoder("llama", "LlamaForCausalLM", 8, attention_bias=False, mlp_bias=False),
        # Biases on q, k and v, and a tied head (arXiv:2407.10671).
        _decoder(
            "qwen2",
            "Qwen2ForCausalLM",
            13,
            rms_norm_eps=1e-6,
            rope_theta=1e6,
            tie_word_embeddings=True,
            use_sliding_window=False,
            sliding_window=None,
        ),
        # Norms on q and k; heads wider than hidden_size / heads (arXiv:2505.09388).
        _decoder(
            "qwen3",
            "Qwen3ForCausalLM",
            5,
            head_dim=64,
            rms_norm_eps=1e-6,
            rope_theta=1e6,
            attention_bias=False,
            use_sliding_window=False,
            sliding_window=None,
        ),
        # A sliding window, shorter than a block of the cache (arXiv:2310.06825).
        _decoder("mistral", "MistralForCausalLM", 2, head_dim=32, sliding_window=11),
        # A bidirectional encoder (arXiv:1810.04805).
        Family(
            "bert",
            {
                **_SHARED,
                "model_type": "bert",
                "architectures": ["BertModel"],
                "num_hidden_layers": 2,
                "max_position_embeddings": 64,
                "type_vocab_size": 2,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-12,
                "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.0,
                "position_embedding_type": "absolute",
                "initializer_range": 0.02,
            },
            5,
        ),
    )
}
DECODERS: Final = tuple(name for name, family in FAMILIES.items() if not family.is_encoder)
#: Families to embed with: encoders, and one decoder.
EMBEDDERS: Final = ("bert", "llama")
