"""Replacements in a text at known places; everything else stays as it is, byte for byte."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replace ``text[start:end]`` by ``new``; an insertion where both are equal."""

    start: int
    end: int
    new: str


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text after all edits, whose offsets are those of the original.

    An edit inside a larger one is left out, for what it would change is gone. Insertions at
    one place come in the order in which they are given.

    :raises ValueError: two edits overlap without one being inside the other.
    """
    # The widest first among those that begin together, except that insertions go before them.
    ordered = sorted(
        dict.fromkeys(edits), key=lambda edit: (edit.start, edit.end > edit.start, -edit.end)
    )
    pieces: list[str] = []
    done = 0
    for edit in ordered:
        if edit.start < done:
            if edit.end > done:
                raise ValueError(f"edits overlap at offset {edit.start}")
            continue
        pieces += (text[done : edit.start], edit.new)
        done = edit.end
    pieces.append(text[done:])
    return "".join(pieces)


class Lines:
    """Where the lines of a text begin. Lines end with ``\\n``, ``\\r\\n`` or a lone ``\\r``."""

    __slots__ = ("_starts", "newline", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0]
        position = 0
        #: The first line's ending; ``\n`` for a text of one line.
        self.newline = ""
        while position < len(text):
            if text[position] == "\r":
                ending = "\r\n" if text.startswith("\n", position + 1) else "\r"
            elif text[position] == "\n":
                ending = "\n"
            else:
                following = [
                    at for at in (text.find("\n", position), text.find("\r", position)) if at >= 0
                ]
                if not following:
                    break
                position = min(following)
                continue
            self.newline = self.newline or ending
            position += len(ending)
            self._starts.append(position)
        self.newline = self.newline or "\n"

    def number(self, offset: int) -> int:
        """The line, from 1, that holds ``offset``."""
        return bisect_right(self._starts, offset)

    def start(self, offset: int) -> int:
        """Where the line that holds ``offset`` begins."""
        return self._starts[self.number(offset) - 1]

    def end(self, offset: int) -> int:
        """Where the next line begins, or where the text ends."""
        number = self.number(offset)
        return self._starts[number] if number < len(self._starts) else len(self.text)

    def indent(self, offset: int) -> str:
        """The white space that the line of ``offset`` begins with."""
        start = self.start(offset)
        line = self.text[start : self.end(offset)]
        return line[: len(line) - len(line.lstrip(" \t\f"))]
