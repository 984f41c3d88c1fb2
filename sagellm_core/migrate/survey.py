"""What one file tells about others: sections that move, models that are named, who needs vLLM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Survey:
    """Collected over all files before any is rewritten."""

    #: Names of sections below ``generator`` that move to ``generator.sagellm``.
    converted: set[str] = field(default_factory=set)
    #: Names of sections below ``generator`` that stay, with the place of one that does.
    kept: dict[str, str] = field(default_factory=dict)
    #: Models that sections which move have named.
    models: set[str] = field(default_factory=set)
    #: Where vLLM itself is still imported after the migration, as ``file:line``.
    vllm_users: list[str] = field(default_factory=list)

    def model(self, chosen: str) -> str:
        """The one model to write: ``chosen``, or the only one that sections name, or ``""``."""
        if chosen:
            return chosen
        return next(iter(self.models)) if len(self.models) == 1 else ""

    def section_moves(self, name: str) -> bool | None:
        """Whether ``generator.NAME`` moves; ``None`` where no file has it, or some keep it."""
        if name in self.kept:
            return False
        return True if name in self.converted else None

    def note_sections(self, moved: Iterable[str], kept: dict[str, str]) -> None:
        """Add what one file has."""
        self.converted.update(moved)
        for name, place in kept.items():
            self.kept.setdefault(name, place)
