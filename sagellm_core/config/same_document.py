"""Whether two documents say the same, but for some keys of one section."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import yaml

from .document import Document, is_null

Pair = tuple[yaml.Node, yaml.Node]


def same_but_for(
    before: Document, after: Document, parts: Sequence[str], keys: Collection[str]
) -> bool:
    """Whether everything but ``keys`` of the section is equal, order included.

    :raises ProblemFound: a document's merge keys cannot be resolved.
    """
    comparison = _Comparison(before, after, keys)
    result: bool = before.guarded(
        lambda: comparison.on_the_way(before.root, after.root, tuple(parts)), before.root
    )
    return result


class _Comparison:
    def __init__(self, before: Document, after: Document, keys: Collection[str]) -> None:
        self._before = before
        self._after = after
        self._keys = keys
        # Aliases make one node a part of several; each couple is looked at once.
        self._seen: set[tuple[int, int]] = set()

    def on_the_way(
        self, one: yaml.Node | None, other: yaml.Node | None, parts: Sequence[str]
    ) -> bool:
        """Compare mappings that lead to the section, or the section where no parts are left."""
        left = self._pairs(self._before, one)
        right = self._pairs(self._after, other)
        if left is None or right is None:
            return False
        exempt = {parts[0]} if parts else set(self._keys)
        rest = self._without(self._before, left, exempt), self._without(self._after, right, exempt)
        if len(rest[0]) != len(rest[1]):
            return False
        for (key, value), (other_key, other_value) in zip(*rest, strict=True):
            if not (self.equal(key, other_key) and self.equal(value, other_value)):
                return False
        if not parts:
            return True
        inner = self._before.entry(one, parts[0]), self._after.entry(other, parts[0])
        return self.on_the_way(
            inner[0][1] if inner[0] else None, inner[1][1] if inner[1] else None, parts[1:]
        )

    def equal(self, one: yaml.Node, other: yaml.Node) -> bool:
        """Compare everything."""
        couple = (id(one), id(other))
        if couple in self._seen:
            return True
        self._seen.add(couple)
        if type(one) is not type(other) or one.tag != other.tag:
            return False
        if isinstance(one, yaml.ScalarNode):
            return bool(one.value == other.value)
        if len(one.value) != len(other.value):
            return False
        if isinstance(one, yaml.SequenceNode):
            return all(map(self.equal, one.value, other.value))
        return all(
            self.equal(left[0], right[0]) and self.equal(left[1], right[1])
            for left, right in zip(one.value, other.value, strict=True)
        )

    def _pairs(self, document: Document, node: yaml.Node | None) -> list[Pair] | None:
        """The entries of a mapping; nothing has none; ``None`` for any other value."""
        if node is None or is_null(node):
            return []
        if not isinstance(node, yaml.MappingNode):
            return None
        document.loader.flatten_mapping(node)
        pairs: list[Pair] = node.value
        return pairs

    def _without(
        self, document: Document, pairs: Sequence[Pair], exempt: Collection[str]
    ) -> list[Pair]:
        return [pair for pair in pairs if document.loader.key_of(pair[0]) not in exempt]
