"""Answers questions from your documents: finds the passages nearest in meaning, asks a model.

Give it questions as arguments, or one a line on standard input; --json prints JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sagellm_core import EmbeddingEngine, SageLLMGenerator
from sagellm_core.pipeline import command_line, located, open_index, question_prompt
from sagellm_core.pipeline import run as run_stages

SETTINGS: dict[str, Any] = {}


def main(
    words: Sequence[str], settings: Mapping[str, Any] = SETTINGS, run: Any = run_stages
) -> int:
    """Index the documents, then answer each question of ``words``; returns the exit code."""
    settings = located(settings, __file__)
    embedder = EmbeddingEngine(settings["embedding"])
    generator = SageLLMGenerator(settings["generator"]["sagellm"])
    with embedder, generator:
        index = open_index(settings, embedder)

        def retrieve(question: str) -> dict[str, Any]:
            return {"question": question, "passages": index.search(question, settings["top_k"])}

        def answer(item: dict[str, Any]) -> dict[str, Any]:
            prompt = question_prompt(item["question"], item["passages"])
            return item | {"answer": generator.execute(prompt)["text"]}

        return int(run(words, retrieve, answer))


if __name__ == "__main__":
    sys.exit(command_line(main))
