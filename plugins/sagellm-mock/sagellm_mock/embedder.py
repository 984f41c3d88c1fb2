"""Embeddings without a model: equal texts have equal vectors, similar texts have near ones."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from math import fsum, sqrt
from types import MappingProxyType

from sagellm_core.contract import (
    ConfigurationError,
    EmbedderConfig,
    InvalidRequestError,
    PromptTooLongError,
    TokenizedTexts,
    TokenizerError,
    UnsupportedOptionError,
)

from .tokenizer import MockTokenizer

#: What a pair of neighbours weighs beside a token: enough to tell orders apart.
_PAIR_WEIGHT = 0.25


class MockEmbedder:
    """A bag of tokens and neighbours, each a random direction (random projection).

    The inner product of two vectors estimates how much the bags share (Achlioptas 2003,
    "Database-friendly random projections").

    :param dimension: length of a vector.
    :param context: longest input in tokens.
    :param prompts: texts to put before inputs, by name.
    :raises UnsupportedOptionError: a pooling other than ``mean``.
    :raises ConfigurationError: a limit that is not between 1 and the context.
    """

    def __init__(
        self,
        dimension: int,
        context: int,
        config: EmbedderConfig,
        prompts: Mapping[str, str] | None = None,
    ) -> None:
        if config.pooling not in (None, "mean"):
            raise UnsupportedOptionError(
                f"The mock provider has no pooling {config.pooling!r}.",
                hint="Use 'mean', or leave it out.",
            )
        longest = context if config.max_length is None else config.max_length
        if not 1 <= longest <= context:
            raise ConfigurationError(
                f"max_length={longest} is not between 1 and the mock's context of {context} "
                "tokens.",
                hint="Leave it out, or raise the option context_length.",
            )
        self._dimension = dimension
        self._longest = longest
        self._prompts = MappingProxyType(dict(prompts or {}))
        self._tokenizer = MockTokenizer()
        self._direction = lru_cache(maxsize=8192)(self._made)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def max_length(self) -> int:
        """Longest input in tokens."""
        return self._longest

    @property
    def pooling(self) -> str:
        """Vectors are made of the mean of directions."""
        return "mean"

    @property
    def normalizes(self) -> bool:
        """Whoever leaves the choice to the mock gets vectors of length 1."""
        return True

    @property
    def prompts(self) -> Mapping[str, str]:
        """The option ``embedding_prompts``."""
        return self._prompts

    def encode(self, texts: Sequence[str]) -> TokenizedTexts:
        """Token ids of ``texts``, cut to the limit; the mock puts no special tokens around them.

        :raises InvalidRequestError: a text has half of a surrogate pair.
        """
        token_ids, lengths = [], []
        for number, text in enumerate(texts):
            try:
                tokens = self._tokenizer.encode(text)
            except TokenizerError as error:
                raise InvalidRequestError(
                    f"Text {number} cannot be tokenised: {error.message}", hint=error.hint
                ) from None
            lengths.append(len(tokens))
            token_ids.append(tokens[: self._longest])
        return TokenizedTexts(token_ids=token_ids, lengths=lengths)

    def embed(self, batch: Sequence[Sequence[int]], *, normalize: bool) -> memoryview[float]:
        """Vectors of ``batch``: float32, of shape [len(batch), dimension].

        :param normalize: scale to length 1; otherwise they are the mean of the directions.
        :raises InvalidRequestError: the batch or an input is empty.
        :raises PromptTooLongError: an input is longer than the limit.
        """
        if not batch:
            raise InvalidRequestError("There is nothing to embed.", hint="Give some texts.")
        flat = array("f")
        for tokens in batch:
            flat.extend(self._vector(tuple(tokens), normalize))
        return memoryview(flat).cast("B").cast("f", [len(batch), self._dimension])

    def close(self) -> None:
        """Nothing to give back."""

    def _vector(self, tokens: tuple[int, ...], normalize: bool) -> list[float]:
        if not tokens:
            raise InvalidRequestError(
                "An input to embed has no tokens.", hint="Leave empty texts out."
            )
        if len(tokens) > self._longest:
            raise PromptTooLongError(
                f"An input to embed has {len(tokens)} tokens, and the limit is {self._longest}.",
                hint="Cut it into pieces.",
            )
        total = [0.0] * self._dimension
        for token in tokens:
            for place, value in enumerate(self._direction(token)):
                total[place] += value
        for pair in pairwise(tokens):
            for place, value in enumerate(self._direction(*pair)):
                total[place] += _PAIR_WEIGHT * value
        norm = sqrt(fsum(value * value for value in total))
        if norm == 0.0:  # everything cancelled out
            total = [float(value) for value in self._direction(*tokens)]
            norm = sqrt(self._dimension)
        scale = norm if normalize else len(tokens)
        return [value / scale for value in total]

    def _made(self, *tokens: int) -> tuple[int, ...]:
        # One bit a dimension, from as many digests as that takes.
        data = b"".join(token.to_bytes(8, "little") for token in tokens)
        bits = 0
        for part in range(-(-self._dimension // 512)):
            digest = blake2b(data, person=b"sagellm-embed", salt=part.to_bytes(8, "little"))
            bits |= int.from_bytes(digest.digest(), "little") << (512 * part)
        return tuple(1 if bits >> place & 1 else -1 for place in range(self._dimension))
