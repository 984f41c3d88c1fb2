"""Search by meaning: the chunks whose vectors point where the question's does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sagellm_core.embedding.arrays import numpy

from .documents import Chunk, Passage

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    from sagellm_core.embedding import EmbeddingEngine


class DenseIndex:
    """Chunks and their vectors.

    :param vectors: float32 of shape [number of chunks, dimension], of length 1 unless
        ``normalize`` is false.
    :param embedder: what computed them; it embeds the questions too.
    :param normalize: compare directions (cosine) rather than inner products.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        vectors: NDArray[float32],
        embedder: EmbeddingEngine,
        *,
        normalize: bool = True,
    ) -> None:
        self.chunks = tuple(chunks)
        self.vectors = vectors
        self._embedder = embedder
        self._normalize = normalize

    @classmethod
    def build(
        cls, chunks: Sequence[Chunk], embedder: EmbeddingEngine, *, normalize: bool = True
    ) -> DenseIndex:
        """Embed the chunks.

        :raises SageLLMError: as :meth:`EmbeddingEngine.embed`.
        """
        vectors = embedder.embed([chunk.text for chunk in chunks], normalize=normalize)
        return cls(chunks, vectors, embedder, normalize=normalize)

    def search(self, question: str, top_k: int = 5) -> list[Passage]:
        """The ``top_k`` nearest chunks, nearest first; of equals, the earlier chunk."""
        vector = self._embedder.embed([question], normalize=self._normalize)[0]
        scores = self.vectors @ vector
        best = numpy().argsort(-scores, kind="stable")[:top_k]
        return [Passage(self.chunks[at], float(scores[at])) for at in best]
