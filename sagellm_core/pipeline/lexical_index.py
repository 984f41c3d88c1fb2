"""Search by words: the chunks that have the question's words, rare words counting more."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from .documents import Chunk, Passage

#: Words, and single characters of the scripts that put no spaces between words: Han, Hiragana
#: and Katakana.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def words_of(text: str) -> list[str]:
    """The words of ``text``, in order, without regard to case."""
    return _WORD.findall(text.casefold())


class LexicalIndex:
    """BM25 over chunks.

    The formula is that of Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25
    and Beyond" (2009), with the inverse document frequency of Lucene, which is never negative:
    ``ln(1 + (N - n + 0.5) / (n + 0.5))`` for a word in n of N chunks.

    :param k1: how soon more occurrences of a word stop to count.
    :param b: how much long chunks are held back, 0 to 1.
    """

    def __init__(self, chunks: Sequence[Chunk], *, k1: float = 1.2, b: float = 0.75) -> None:
        self.chunks = tuple(chunks)
        self._k1 = k1
        #: word to (number of the chunk, how often it is there)
        self._postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        lengths = []
        for number, chunk in enumerate(self.chunks):
            words = words_of(chunk.text)
            lengths.append(len(words))
            for word, count in Counter(words).items():
                self._postings[word].append((number, count))
        mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
        self._damping = [k1 * (1 - b + b * length / mean) for length in lengths]

    def search(self, question: str, top_k: int = 5) -> list[Passage]:
        """The ``top_k`` chunks that match best, best first; none that shares no word."""
        scores: dict[int, float] = defaultdict(float)
        for word in set(words_of(question)):
            postings = self._postings.get(word, ())
            rarity = math.log1p((len(self.chunks) - len(postings) + 0.5) / (len(postings) + 0.5))
            for number, count in postings:
                scores[number] += rarity * count * (self._k1 + 1) / (count + self._damping[number])
        best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:top_k]
        return [Passage(self.chunks[number], score) for number, score in best]
