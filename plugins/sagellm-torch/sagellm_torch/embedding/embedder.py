"""The kit's embedder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from sagellm_core.contract import (
    EmptyPromptError,
    EngineClosedError,
    InvalidRequestError,
    PromptTooLongError,
    TokenizedTexts,
)
from sagellm_torch.adapter import DeviceAdapter
from sagellm_torch.device_errors import device_errors

from .dense import Dense
from .pack import Pack, pack, slices
from .pooling import pool, wanted_rows
from .recipe import Recipe
from .text_encoder import TextEncoder


class TokenStates(Protocol):
    """A model as embedding needs it: token vectors of packed texts."""

    def hidden_states(self, pack: Pack, rows: torch.Tensor | None) -> torch.Tensor:
        """[T, hidden], or of some rows of ``T``."""
        ...

    def close(self) -> None:
        """Let go of what was kept between passes."""
        ...


class TorchEmbedder:
    """Implements :class:`sagellm_core.contract.Embedder`.

    Texts are sorted by length and go through the model in passes of a bounded number of tokens,
    packed without padding. A text's vector does not depend on what is embedded beside it, but
    for rounding.

    :param recipe: with the pooling and the ``max_length`` that count.
    :param dimension: width of a token vector. ``vocab_size``: number of token ids.
    """

    def __init__(
        self,
        states: TokenStates,
        encoder: TextEncoder,
        recipe: Recipe,
        adapter: DeviceAdapter,
        *,
        dimension: int,
        vocab_size: int,
    ) -> None:
        self._states: TokenStates | None = states
        self._encoder = encoder
        self._recipe = recipe
        self._adapter = adapter
        self._vocab_size = vocab_size
        self._dense = [Dense(config, adapter.device) for config in recipe.dense]
        self._dimension = recipe.dense[-1].out_features if recipe.dense else dimension
        assert recipe.max_length is not None, "open_embedder settles the length"
        self._max_length = recipe.max_length

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def max_length(self) -> int:
        """Longest input in tokens, special tokens included."""
        return self._max_length

    @property
    def pooling(self) -> str:
        """``mean``, ``last``, ``cls`` or ``max``."""
        return self._recipe.pooling

    @property
    def normalizes(self) -> bool:
        """Whether the model's own configuration scales vectors to length 1."""
        return self._recipe.normalize

    @property
    def prompts(self) -> Mapping[str, str]:
        """Texts to put before an input, by name."""
        return self._recipe.prompts

    def encode(self, texts: Sequence[str]) -> TokenizedTexts:
        """Token ids of ``texts``, cut to :attr:`max_length` with special tokens kept.

        :raises InvalidRequestError: a text is no string, or not Unicode.
        :raises TokenizerError: the model has no tokenizer files.
        """
        return self._encoder.encode(texts)

    def embed(self, batch: Sequence[Sequence[int]], *, normalize: bool) -> Any:
        """Vectors of ``batch`` in its order, a float32 NumPy array [len(batch), dimension].

        :param normalize: scale to length 1; without it they stay as pooled, whatever
            :attr:`normalizes` says.
        :raises EmptyPromptError: an input has no tokens.
        :raises PromptTooLongError: one has more than :attr:`max_length`.
        :raises InvalidRequestError: a token id is not one of the model's.
        :raises DeviceOutOfMemoryError: a smaller batch may succeed.
        :raises EngineClosedError: the embedder was closed.
        """
        states = self._states
        if states is None:
            raise EngineClosedError("The embedder was closed.", hint="Open another one.")
        lengths = [len(ids) for ids in batch]
        self._check_lengths(lengths)
        out = np.empty((len(batch), self._dimension), np.float32)
        # Longest first, so that running out of memory shows in the first pass; equal lengths
        # side by side, because they share a call to attention.
        order = sorted(range(len(batch)), key=lengths.__getitem__, reverse=True)
        budget = max(1, self._adapter.embedding_tokens)
        with torch.inference_mode(), device_errors(self._adapter):
            for part in slices([lengths[index] for index in order], budget):
                places = order[part]
                packed = pack([batch[index] for index in places], self._adapter.device)
                self._check_ids(packed)
                out[places] = self._vectors(states, packed, normalize).cpu().numpy()
        return out

    def close(self) -> None:
        """Give the memory back; the model stays loaded. May be called twice."""
        if self._states is not None:
            self._states.close()
        self._states = None
        self._dense = []

    def _vectors(self, states: TokenStates, packed: Pack, normalize: bool) -> torch.Tensor:
        pooling = self._recipe.pooling
        hidden = states.hidden_states(packed, wanted_rows(pooling, packed))
        vectors = pool(pooling, hidden, packed)
        for dense in self._dense:
            vectors = dense(vectors)
        return F.normalize(vectors) if normalize else vectors

    def _check_lengths(self, lengths: Sequence[int]) -> None:
        for index, length in enumerate(lengths):
            if length == 0:
                raise EmptyPromptError(
                    f"Input {index} of {len(lengths)} has no tokens.", hint="Leave it out."
                )
            if length > self._max_length:
                raise PromptTooLongError(
                    f"Input {index} of {len(lengths)} has {length} tokens; the most is "
                    f"{self._max_length}.",
                    hint="Cut it, or split it and embed the parts.",
                )

    def _check_ids(self, packed: Pack) -> None:
        lowest, highest = int(packed.token_ids.min()), int(packed.token_ids.max())
        if lowest < 0 or highest >= self._vocab_size:
            foreign = lowest if lowest < 0 else highest
            raise InvalidRequestError(
                f"An input has the token id {foreign}; the model has ids 0 to "
                f"{self._vocab_size - 1}.",
                hint="Tokenise with the model's own tokenizer.",
            )
