"""The embedder: one text after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sagellm_core.contract import (
    ConfigurationError,
    EmbedderConfig,
    PromptTooLongError,
    TokenizedTexts,
)
from sagellm_core.testing.reference.decoder import ReferenceDecoder
from sagellm_core.testing.reference.encoder import ReferenceEncoder, pooled

from .plugin import refuse


class TinyEmbedder:
    """Implements Embedder."""

    normalizes, prompts = False, {}

    def __init__(self, model: Any, config: EmbedderConfig) -> None:
        own = "mean" if model.config["model_type"] == "bert" else "last"
        self.pooling = config.pooling or own
        if self.pooling not in ("mean", "last", "cls", "max"):
            raise refuse(f"pooling={config.pooling!r}")
        self.max_length = config.max_length or model.max_model_len
        if self.max_length > model.max_model_len:
            raise ConfigurationError("max_length is beyond the model's.", hint="Lower it.")
        self.dimension = model.config["hidden_size"]
        self._tokenizer = model.tokenizer
        kind = ReferenceEncoder if own == "mean" else ReferenceDecoder
        self._states = kind(model.config, model.weights)

    def encode(self, texts: Sequence[str]) -> TokenizedTexts:
        whole = [self._tokenizer.encode(text) for text in texts]
        end = self._tokenizer.after
        cut = [
            tokens if len(tokens) <= self.max_length else tokens[: self.max_length - len(end)] + end
            for tokens in whole
        ]
        return TokenizedTexts(token_ids=cut, lengths=[len(tokens) for tokens in whole])

    def embed(self, batch: Sequence[Sequence[int]], *, normalize: bool) -> Any:
        if any(len(tokens) > self.max_length for tokens in batch):
            raise PromptTooLongError("An input is longer than max_length.", hint="Cut it.")
        vectors = np.stack([self.vector(tokens, batch) for tokens in batch])
        if normalize:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.astype(np.float32)

    def vector(self, tokens: Sequence[int], batch: Sequence[Sequence[int]]) -> Any:
        return pooled(self._states.hidden(tokens), self.pooling)

    def close(self) -> None:
        pass
