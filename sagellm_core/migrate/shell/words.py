"""A shell script as commands of words with their places.

Enough of POSIX 2.10 (Shell Grammar) to know with certainty which words a simple command has:
quotes, comments, continued lines, substitutions and here-documents are skipped over as what
they are. A word whose value only the shell knows has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HERE = re.compile(r"<<(-?)[ \t]*(?:'([^'\n]+)'|\"([^\"\n]+)\"|\\?([\w.+-]+))")
_SEPARATORS = ";&|()\n"


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command."""

    start: int
    end: int
    #: Without quotes; ``None`` where a variable or a substitution decides.
    value: str | None


def commands(text: str) -> Iterator[list[Word]]:
    """Simple commands in the order of the text, assignments before the name included."""
    words: list[Word] = []
    pending: list[tuple[str, bool]] = []
    position = 0
    while position < len(text):
        char = text[position]
        if char == "\\" and text[position + 1 : position + 2] in ("\n", "\r"):
            position += 3 if text.startswith("\r\n", position + 1) else 2
        elif char in " \t\r\f\v":
            position += 1
        elif char == "#":
            position = _find(text, "\n", position)
        elif char in _SEPARATORS:
            if words:
                yield words
                words = []
            position += 1
            if char == "\n" and pending:
                position = _after_bodies(text, position, pending)
                pending = []
        elif here := _HERE.match(text, position):
            if text.startswith("<<<", position):
                position += 3
                continue
            pending.append((here[2] or here[3] or here[4], here[1] == "-"))
            position = here.end()
        elif char in "<>":
            position += 1
        else:
            word = _word(text, position)
            words.append(word)
            position = word.end
    if words:
        yield words


def _word(text: str, start: int) -> Word:
    value: str | None = ""
    position = start
    while position < len(text) and text[position] not in " \t\r\f\v<>" + _SEPARATORS:
        char = text[position]
        piece: str | None
        if char == "'":
            end = _find(text, "'", position + 1)
            piece, position = text[position + 1 : end], end + 1
        elif char == '"':
            end = _double_quote_end(text, position + 1)
            piece = text[position + 1 : end]
            # What these do inside double quotes is the shell's to say.
            piece = None if re.search(r"[$`\\]", piece) else piece
            position = end + 1
        elif char == "`":
            piece, position = None, _find(text, "`", position + 1) + 1
        elif char == "$":
            piece = None
            opening = text[position + 1 : position + 2]
            closing = {"(": ")", "{": "}"}.get(opening)
            position = _balanced(text, position + 1, opening, closing) if closing else position + 1
        elif char == "\\":
            if text[position + 1 : position + 2] in ("\n", "\r"):
                piece = ""
                position += 3 if text.startswith("\r\n", position + 1) else 2
            else:
                piece, position = text[position + 1 : position + 2], position + 2
        else:
            piece, position = char, position + 1
        value = None if piece is None or value is None else value + piece
    return Word(start, min(position, len(text)), value)


def _find(text: str, what: str, start: int) -> int:
    at = text.find(what, start)
    return len(text) if at < 0 else at


def _double_quote_end(text: str, position: int) -> int:
    while position < len(text) and text[position] != '"':
        if text[position] == "\\":
            position += 2
        elif text.startswith("$(", position):
            position = _balanced(text, position + 1, "(", ")")
        else:
            position += 1
    return min(position, len(text))


def _balanced(text: str, position: int, opening: str, closing: str) -> int:
    """After the bracket that closes the one at ``position``."""
    depth = 0
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 2
            continue
        if char == "'":
            position = _find(text, "'", position + 1)
        elif char == '"':
            position = _double_quote_end(text, position + 1)
        elif char == opening:
            depth += 1
        elif char == closing:
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    return len(text)


def _after_bodies(text: str, position: int, pending: list[tuple[str, bool]]) -> int:
    for delimiter, tabs in pending:
        while position < len(text):
            end = _find(text, "\n", position)
            line = text[position:end].rstrip("\r")
            position = end + 1
            if (line.lstrip("\t") if tabs else line) == delimiter:
                break
    return min(position, len(text))
