"""Weights and tokenizer in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sagellm_core.contract import (
    EngineClosedError,
    LoadOptions,
    ModelDescription,
    ModelFormatError,
    TokenizerError,
    UnsupportedModelError,
)
from sagellm_core.testing.tiny.tokenizer import byte_characters

from .plugin import DECODERS, refuse


class TinyProviderModel:
    """Implements LoadedModel."""

    dtype, quantization, notes = "float32", "none", ()

    def __init__(self, description: ModelDescription, options: LoadOptions) -> None:
        if options.provider_options:
            raise refuse(f"The option {sorted(options.provider_options)[0]!r}")
        if options.dtype not in ("auto", "float32"):
            raise refuse(f"dtype={options.dtype!r}")
        if options.quantization not in (None, "none"):
            raise refuse(f"quantization={options.quantization!r}")
        if description.model_type not in (*DECODERS, "bert"):
            raise UnsupportedModelError(
                f"{description.model_type!r} is not computed.", hint="Use another model."
            )
        assert description.path is not None
        self.description = description
        self.config = description.config
        self._weights: dict[str, Any] | None = read_weights(description.path)
        check_weights(self._weights, self.config)
        self.tokenizer = TinyTokenizer(description.path / "tokenizer.json")
        self.max_model_len = description.context_length or 0
        self.eos_token_ids = frozenset({2})

    @property
    def weights(self) -> dict[str, Any]:
        if self._weights is None:
            raise EngineClosedError("The model was closed.", hint="Load it again.")
        return self._weights

    def close(self) -> None:
        self._weights = None


def read_weights(place: Path) -> dict[str, Any]:
    """Tensors of a safetensors file, in float64."""
    try:
        raw = (place / "model.safetensors").read_bytes()
        end = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:end])
        header.pop("__metadata__", None)
        tensors = {}
        for name, entry in header.items():
            begin, stop = entry["data_offsets"]
            values = np.frombuffer(raw[end + begin : end + stop], dtype="<f4")
            tensors[name] = values.reshape(entry["shape"]).astype(np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFormatError(
            f"The weights in {place} cannot be read: {error}", hint="Download them again."
        ) from error
    return tensors


def check_weights(weights: dict[str, Any], config: Any) -> None:
    """Whether every layer has what it needs, in its shape."""
    wanted = {}
    for number in range(config["num_hidden_layers"]):
        shape = (config["hidden_size"], config["intermediate_size"])
        if config["model_type"] == "bert":
            wanted[f"encoder.layer.{number}.output.dense.weight"] = shape
        else:
            wanted[f"model.layers.{number}.mlp.down_proj.weight"] = shape
    for name, shape in wanted.items():
        if name not in weights or weights[name].shape != shape:
            raise ModelFormatError(
                f"{name} is missing or not of shape {shape}.", hint="Download the weights again."
            )


class TinyTokenizer:
    """One token a byte, and special tokens where they are written out."""

    has_chat_template = False

    def __init__(self, path: Path) -> None:
        data = json.loads(path.read_text(encoding="utf-8"))
        self.vocab_size = len(data["model"]["vocab"])
        vocabulary = data["model"]["vocab"]
        self._ids = [vocabulary[character] for character in byte_characters()]
        self._bytes = {token: byte for byte, token in enumerate(self._ids)}
        self._special = {each["content"]: each["id"] for each in data["added_tokens"]}
        self._texts = {number: text for text, number in self._special.items()}
        single = data["post_processor"]["single"]
        self.after = [2] if len(single) == 3 else []

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        tokens: list[int] = []
        while text:
            found = next((each for each in self._special if text.startswith(each)), None)
            if found:
                tokens.append(self._special[found])
                text = text[len(found) :]
            else:
                tokens += [self._ids[byte] for byte in text[0].encode()]
                text = text[1:]
        return [1, *tokens, *self.after] if add_special_tokens else tokens

    def decode(self, token_ids: Any, *, skip_special_tokens: bool = True) -> str:
        data = b""
        for token in token_ids:
            if token in self._bytes:
                data += bytes([self._bytes[token]])
            elif not skip_special_tokens:
                data += self._texts[token].encode()
        return data.decode("utf-8", "replace")

    def apply_chat_template(self, messages: Any, **_: Any) -> str:
        raise TokenizerError("There is no chat template.", hint="Use a plain prompt.")
