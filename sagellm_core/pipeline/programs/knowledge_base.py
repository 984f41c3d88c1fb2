"""Builds a knowledge base: embeds your documents into an index file, and searches it.

Without questions it only builds the file. Later runs use it until a document changes. Give it
questions as arguments; --json prints JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sagellm_core import EmbeddingEngine
from sagellm_core.pipeline import command_line, located, open_index
from sagellm_core.pipeline import run as run_stages

SETTINGS: dict[str, Any] = {}


def main(
    words: Sequence[str], settings: Mapping[str, Any] = SETTINGS, run: Any = run_stages
) -> int:
    """Build the index where it is not there, then search it; returns the exit code."""
    settings = located(settings, __file__)
    with EmbeddingEngine(settings["embedding"]) as embedder:
        index = open_index(settings, embedder)
        if not words:
            print(f"{len(index.chunks)} chunks in {settings['index']}")
            return 0

        def retrieve(question: str) -> dict[str, Any]:
            return {"question": question, "passages": index.search(question, settings["top_k"])}

        return int(run(words, retrieve))


if __name__ == "__main__":
    sys.exit(command_line(main))
