"""Embeddings without a model: equal texts have equal vectors, similar texts have near ones."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from math import fsum, sqrt

from sagellm_core.contract import (
    EmbedderConfig,
    InvalidRequestError,
    PromptTooLongError,
    UnsupportedOptionError,
)

#: What a pair of neighbours weighs beside a token: enough to tell orders apart.
_PAIR_WEIGHT = 0.25


class MockEmbedder:
    """A bag of tokens and neighbours, each a random direction (random projection).

    The inner product of two vectors estimates how much the bags share (Achlioptas 2003,
    "Database-friendly random projections").

    :param dimension: length of a vector.
    :param context: longest input in tokens.
    :raises UnsupportedOptionError: a pooling other than ``mean``.
    """

    def __init__(self, dimension: int, context: int, config: EmbedderConfig) -> None:
        if config.pooling not in (None, "mean"):
            raise UnsupportedOptionError(
                f"The mock provider has no pooling {config.pooling!r}.",
                hint="Use 'mean', or leave it out.",
            )
        self._dimension = dimension
        self._longest = min(context, config.max_length or context)
        self._normalize = config.normalize is not False
        self._direction = lru_cache(maxsize=8192)(self._made)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    def embed(self, batch: Sequence[Sequence[int]]) -> memoryview[float]:
        """Vectors of ``batch``: float32, of shape [len(batch), dimension], of length 1.

        With ``normalize=False`` they are the mean of the directions instead.

        :raises InvalidRequestError: the batch or an input is empty.
        :raises PromptTooLongError: an input is longer than the limit.
        """
        if not batch:
            raise InvalidRequestError("There is nothing to embed.", hint="Give some texts.")
        flat = array("f")
        for tokens in batch:
            flat.extend(self._vector(tuple(tokens)))
        return memoryview(flat).cast("B").cast("f", [len(batch), self._dimension])

    def close(self) -> None:
        """Nothing to give back."""

    def _vector(self, tokens: tuple[int, ...]) -> list[float]:
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
        scale = norm if self._normalize else len(tokens)
        return [value / scale for value in total]

    def _made(self, *tokens: int) -> tuple[int, ...]:
        # One bit a dimension, from as many digests as that takes.
        data = b"".join(token.to_bytes(8, "little") for token in tokens)
        bits = 0
        for part in range(-(-self._dimension // 512)):
            digest = blake2b(data, person=b"sagellm-embed", salt=part.to_bytes(8, "little"))
            bits |= int.from_bytes(digest.digest(), "little") << (512 * part)
        return tuple(1 if bits >> place & 1 else -1 for place in range(self._dimension))
