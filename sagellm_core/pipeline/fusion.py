"""One ranking of several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from .documents import Chunk, Passage

#: Ranks are counted from here, so that the first few do not decide alone.
_RANK_OFFSET = 60


def fuse(rankings: Iterable[tuple[float, Sequence[Passage]]], top_k: int = 5) -> list[Passage]:
    """The best of several rankings, by reciprocal rank; their scores need not compare.

    Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
    Rank Learning Methods" (2009), with a weight for each ranking: a chunk scores the sum of
    ``weight / (60 + rank)``.

    :param rankings: (weight, passages, best first).
    """
    scores: dict[Chunk, float] = defaultdict(float)
    for weight, passages in rankings:
        for rank, passage in enumerate(passages, start=1):
            scores[passage.chunk] += weight / (_RANK_OFFSET + rank)
    best = sorted(scores.items(), key=lambda item: -item[1])[:top_k]
    return [Passage(chunk, score) for chunk, score in best]
