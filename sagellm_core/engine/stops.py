"""Stop strings in a stream of text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=256)
def _failure_table(stop: str) -> tuple[int, ...]:
    # Entry i: length of the longest proper prefix of stop that ends at stop[i].
    # Knuth, Morris, Pratt 1977, "Fast pattern matching in strings".
    table = [0] * len(stop)
    matched = 0
    for position in range(1, len(stop)):
        while matched and stop[position] != stop[matched]:
            matched = table[matched - 1]
        if stop[position] == stop[matched]:
            matched += 1
        table[position] = matched
    return tuple(table)


class StopMatcher:
    """Finds the first of several stop strings, and withholds what could be its beginning.

    First is the one that is complete first; of those complete at one character, the longest.
    So the answer does not depend on how the text was cut into pieces. The work is linear in
    the text.

    :param stops: non-empty strings.
    """

    __slots__ = ("_held", "_matched", "_stops", "_tables")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._tables = tuple(_failure_table(stop) for stop in self._stops)
        self._matched = [0] * len(self._stops)
        self._held = ""

    def push(self, text: str) -> tuple[str, str | None]:
        """Take more text.

        :returns: the text that is certainly before any stop string, and the stop string that
            was found, or ``None``. After one was found, the matcher is spent.
        """
        if not text:
            return "", None
        stops, tables, matched = self._stops, self._tables, self._matched
        buffer = self._held + text
        for position, character in enumerate(text, len(self._held)):
            found = None
            for index, stop in enumerate(stops):
                length = matched[index]
                while length and stop[length] != character:
                    length = tables[index][length - 1]
                if stop[length] == character:
                    length += 1
                if length == len(stop):
                    if found is None or length > len(found):
                        found = stop
                    length = tables[index][length - 1]
                matched[index] = length
            if found is not None:
                self._held = ""
                return buffer[: position + 1 - len(found)], found
        safe = len(buffer) - max(matched, default=0)
        self._held = buffer[safe:]
        return buffer[:safe], None

    def flush(self) -> str:
        """The text withheld; no more will come."""
        held, self._held = self._held, ""
        return held
