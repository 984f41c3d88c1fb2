"""What a rewrite has to say: what it changed, what it left, what deserves a look."""

from __future__ import annotations

from dataclasses import dataclass, field

from .edit import Edit


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One sentence about one line of a file."""

    #: 1 for the first line.
    line: int
    text: str


@dataclass(slots=True)
class Rewrite:
    """The outcome for one text: edits, and what a person should know."""

    edits: list[Edit] = field(default_factory=list)
    #: What the edits do, form by form.
    changes: list[Finding] = field(default_factory=list)
    #: Old forms that were not touched, and why.
    left: list[Finding] = field(default_factory=list)
    #: Changed, or next to a change, where the new code does not behave as the old one did.
    check: list[Finding] = field(default_factory=list)

    def add(self, other: Rewrite) -> None:
        """Take over all of ``other``."""
        self.edits += other.edits
        self.changes += other.changes
        self.left += other.left
        self.check += other.check


class NotUnderstoodError(Exception):
    """An old form in a shape that cannot be rewritten with certainty; the text says why."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        #: 0 where the raiser does not know it.
        self.line = line
