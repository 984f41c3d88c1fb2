"""Searches your documents in the way that fits each question: by words, by meaning, or by both.

Give it questions as arguments, or one a line on standard input; --json prints JSON.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sagellm_core import EmbeddingEngine
from sagellm_core.pipeline import LexicalIndex, Passage, command_line, fuse, located, open_index
from sagellm_core.pipeline import run as run_stages

SETTINGS: dict[str, Any] = {}

#: What has to be found letter by letter: quoted text, names_of_code, ERR-1042, v2.3.
_LITERAL = re.compile(r'"[^"]+"|`[^`]+`|\w+[_./\\-]*\d\w*|[A-Za-z]+_\w+')


def choose_strategy(question: str) -> str:
    """``words`` for one or two words, ``both`` where a sentence names something literally,
    else ``meaning``.
    """
    if len(question.split()) <= 2 and question.isascii():
        return "words"
    return "both" if _LITERAL.search(question) else "meaning"


def main(
    words: Sequence[str], settings: Mapping[str, Any] = SETTINGS, run: Any = run_stages
) -> int:
    """Index the documents both ways, then search as fits; returns the exit code."""
    settings = located(settings, __file__)
    with EmbeddingEngine(settings["embedding"]) as embedder:
        dense = open_index(settings, embedder)
        lexical = LexicalIndex(dense.chunks)
        top_k = settings["top_k"]

        def search(question: str, strategy: str) -> list[Passage]:
            if strategy == "words":
                return lexical.search(question, top_k)
            if strategy == "meaning":
                return dense.search(question, top_k)
            rankings = [
                (settings["dense_weight"], dense.search(question, 4 * top_k)),
                (settings["sparse_weight"], lexical.search(question, 4 * top_k)),
            ]
            return fuse(rankings, top_k)

        def retrieve(question: str) -> dict[str, Any]:
            strategy = choose_strategy(question)
            passages = search(question, strategy)
            if not passages:  # words that no document has may still mean what one says
                strategy = "meaning"
                passages = search(question, strategy)
            return {"question": question, "strategy": strategy, "passages": passages}

        return int(run(words, retrieve))


if __name__ == "__main__":
    sys.exit(command_line(main))
