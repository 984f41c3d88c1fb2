"""Checkpoints of random weights, as the loader reads any other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from .shapes import Shape

_INDEX = "model.safetensors.index.json"


def write_checkpoint(folder: Path, shape: Shape, device: str) -> int:
    """Write config and weights in bfloat16, a file for each layer.

    :param device: where the numbers are drawn: a GPU draws 16 GB in a second.
    :returns: bytes of weights.
    """
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(dict(shape.config)), encoding="utf-8")
    made = torch.Generator(device).manual_seed(0)
    places: dict[str, str] = {}
    total = 0
    for number, sizes in enumerate(_parts(shape)):
        file = f"model-{number:05d}.safetensors"
        tensors = {}
        for name, size in sizes.items():
            # Norms are about 1, and weights as a model is initialised: numbers stay in range.
            mean, spread = (1.0, 0.1) if len(size) == 1 else (0.0, 0.02)
            drawn = torch.empty(size, dtype=torch.bfloat16, device=device)
            tensors[name] = drawn.normal_(mean, spread, generator=made).cpu()
            places[name] = file
            total += tensors[name].nbytes
        save_file(tensors, folder / file)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")
    return total


def _parts(shape: Shape) -> Iterator[dict[str, tuple[int, ...]]]:
    """Names and shapes of a Qwen3 checkpoint, file by file."""
    decoder = shape.decoder
    hidden, inner, head = decoder.hidden_size, decoder.intermediate_size, decoder.head_dim
    for layer in range(decoder.num_layers):
        prefix = f"model.layers.{layer}"
        yield {
            f"{prefix}.self_attn.q_proj.weight": (decoder.query_size, hidden),
            f"{prefix}.self_attn.k_proj.weight": (decoder.kv_size, hidden),
            f"{prefix}.self_attn.v_proj.weight": (decoder.kv_size, hidden),
            f"{prefix}.self_attn.o_proj.weight": (hidden, decoder.query_size),
            f"{prefix}.self_attn.q_norm.weight": (head,),
            f"{prefix}.self_attn.k_norm.weight": (head,),
            f"{prefix}.mlp.gate_proj.weight": (inner, hidden),
            f"{prefix}.mlp.up_proj.weight": (inner, hidden),
            f"{prefix}.mlp.down_proj.weight": (hidden, inner),
            f"{prefix}.input_layernorm.weight": (hidden,),
            f"{prefix}.post_attention_layernorm.weight": (hidden,),
        }
    ends: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (decoder.vocab_size, hidden),
        "model.norm.weight": (hidden,),
    }
    if not decoder.tie_word_embeddings:
        ends["lm_head.weight"] = (decoder.vocab_size, hidden)
    yield ends
