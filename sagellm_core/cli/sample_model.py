"""A tiny model on disk, for asking plugins what they say of models when the user has named none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sagellm_core.contract.model import ModelDescription

_HIDDEN, _INNER, _VOCAB = 8, 16, 32
_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": _HIDDEN,
    "intermediate_size": _INNER,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": _VOCAB,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}
_LAYER = "model.layers.0"
_SHAPES = {
    "model.embed_tokens.weight": [_VOCAB, _HIDDEN],
    "model.norm.weight": [_HIDDEN],
    f"{_LAYER}.input_layernorm.weight": [_HIDDEN],
    f"{_LAYER}.post_attention_layernorm.weight": [_HIDDEN],
    **{f"{_LAYER}.self_attn.{part}_proj.weight": [_HIDDEN, _HIDDEN] for part in "qkvo"},
    f"{_LAYER}.mlp.gate_proj.weight": [_INNER, _HIDDEN],
    f"{_LAYER}.mlp.up_proj.weight": [_INNER, _HIDDEN],
    f"{_LAYER}.mlp.down_proj.weight": [_HIDDEN, _INNER],
}


@contextmanager
def sample_model() -> Iterator[ModelDescription]:
    """A Llama of one layer and no tokenizer, whose weights are zeros.

    :raises OSError: there is nowhere to write it.
    """
    from sagellm_core.models import describe

    with TemporaryDirectory(prefix="sagellm-") as folder:
        path = Path(folder)
        (path / "config.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
        (path / "model.safetensors").write_bytes(_weights())
        yield describe(path)


def _weights() -> bytes:
    """In the format of safetensors: its length, the header, the numbers."""
    header, end = {}, 0
    for name, shape in _SHAPES.items():
        begin, end = end, end + 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode("ascii")
    return len(text).to_bytes(8, "little") + text + bytes(end)
