"""The prompt that puts passages before a question."""

from __future__ import annotations

from collections.abc import Sequence

from .documents import Passage


def question_prompt(question: str, passages: Sequence[Passage]) -> str:
    """A prompt that asks for an answer from the passages alone."""
    numbered = "\n\n".join(
        f"[{number}] {passage.chunk.text}" for number, passage in enumerate(passages, start=1)
    )
    return (
        "Answer the question from these passages. If they do not say it, say so.\n\n"
        f"{numbered}\n\nQuestion: {question}\nAnswer:"
    )
