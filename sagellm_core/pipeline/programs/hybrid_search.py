"""Searches your documents by meaning and by words, and makes one ranking of the two.

Give it questions as arguments, or one a line on standard input; --json prints JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sagellm_core import EmbeddingEngine
from sagellm_core.pipeline import LexicalIndex, command_line, fuse, located, open_index
from sagellm_core.pipeline import run as run_stages

SETTINGS: dict[str, Any] = {}


def main(
    words: Sequence[str], settings: Mapping[str, Any] = SETTINGS, run: Any = run_stages
) -> int:
    """Index the documents both ways, then search; returns the exit code."""
    settings = located(settings, __file__)
    with EmbeddingEngine(settings["embedding"]) as embedder:
        dense = open_index(settings, embedder)
        lexical = LexicalIndex(dense.chunks)
        top_k = settings["top_k"]
        deep = 4 * top_k  # what is in one ranking's tail may be high in the other

        def retrieve(question: str) -> dict[str, Any]:
            rankings = [
                (settings["dense_weight"], dense.search(question, deep)),
                (settings["sparse_weight"], lexical.search(question, deep)),
            ]
            return {"question": question, "passages": fuse(rankings, top_k)}

        return int(run(words, retrieve))


if __name__ == "__main__":
    sys.exit(command_line(main))
