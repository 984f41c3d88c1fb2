"""A tiny model on disk, as its makers publish it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .family import BEGIN, END, PAD, Family
from .tokenizer import tokenizer_config, tokenizer_json

WEIGHTS = "model.safetensors"


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write float32 tensors: eight bytes of length, a JSON header, then the data.

    The format is https://github.com/huggingface/safetensors#format.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, values in tensors.items():
        size = values.nbytes
        header[name] = {"dtype": "F32", "shape": values.shape, "data_offsets": (at, at + size)}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for values in tensors.values():
            file.write(np.ascontiguousarray(values, dtype="<f4").tobytes())


def write_model(
    place: Path, family: Family, tensors: Mapping[str, NDArray[np.float32]], **changes: Any
) -> None:
    """Write all files of a model into the directory ``place``, which is made.

    :param changes: over the family's config.
    """
    place.mkdir(parents=True)
    config = {**family.config, **changes}
    _write(place / "config.json", config)
    write_safetensors(place / WEIGHTS, tensors)
    _write(place / "tokenizer.json", tokenizer_json(enclosed=family.is_encoder))
    context = config["max_position_embeddings"]
    _write(place / "tokenizer_config.json", tokenizer_config(context=context))
    if family.is_encoder:
        _write_pooling(place, config["hidden_size"], context)
    else:
        ids = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": PAD}
        _write(place / "generation_config.json", ids)


def _write_pooling(place: Path, hidden: int, context: int) -> None:
    """What says how texts are embedded (https://sbert.net, "Creating custom models")."""
    kind = "sentence_transformers.models"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{kind}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{kind}.Pooling"},
    ]
    _write(place / "modules.json", modules)
    limits = {"max_seq_length": context, "do_lower_case": False}
    _write(place / "sentence_bert_config.json", limits)
    (place / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True}
    _write(place / "1_Pooling" / "config.json", pooling)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
