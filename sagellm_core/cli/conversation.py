"""The messages of a conversation."""

from __future__ import annotations

from typing import Any


class Conversation:
    """Messages in the order that a chat template takes them."""

    def __init__(self, system: str | None = None) -> None:
        self.system = system
        self._turns: list[dict[str, Any]] = []

    def ask(self, text: str) -> list[dict[str, Any]]:
        """All messages with ``text`` as the user's next one, which is not kept yet."""
        head = [{"role": "system", "content": self.system}] if self.system else []
        return [*head, *self._turns, {"role": "user", "content": text}]

    def keep(self, question: str, reply: str) -> None:
        """Remember a question with its answer, a stopped one as far as it came."""
        if reply:
            self._turns += [
                {"role": "user", "content": question},
                {"role": "assistant", "content": reply},
            ]

    def clear(self) -> None:
        """Forget everything but the system message."""
        self._turns.clear()

    def __len__(self) -> int:
        return len(self._turns)
