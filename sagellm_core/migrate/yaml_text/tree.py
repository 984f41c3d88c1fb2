"""A YAML text as nodes with places.

PyYAML reads it, because PyYAML is what will read the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from sagellm_core.migrate.finding import NotUnderstoodError


class _Loader(yaml.SafeLoader):
    """A loader under a name of its own, so that nothing registered elsewhere reaches it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One key of a mapping, the value, and the keys that lead to it."""

    key: yaml.ScalarNode
    value: yaml.Node
    owner: yaml.MappingNode
    path: tuple[str, ...]
    #: Whether something around it has an anchor, so that other places may be the same.
    shared: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """All documents of a text."""

    documents: tuple[yaml.Node, ...]
    #: Where anchors and aliases stand.
    references: frozenset[int]

    def pairs(self) -> Iterator[Pair]:
        """Every key and value, outer ones first, in the order of the text."""
        seen: set[int] = set()
        for document in self.documents:
            yield from self._pairs(document, (), seen, False)

    def _pairs(
        self, node: yaml.Node, path: tuple[str, ...], seen: set[int], shared: bool
    ) -> Iterator[Pair]:
        # An alias is the same node again, possibly inside itself.
        if id(node) in seen:
            return
        seen.add(id(node))
        shared = shared or node.start_mark.index in self.references
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from self._pairs(item, path, seen, shared)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                if name:
                    yield Pair(key, value, node, (*path, name), shared)
                yield from self._pairs(value, (*path, name), seen, shared)

    def has_reference(self, start: int, end: int) -> bool:
        """Whether an anchor or an alias stands between two offsets."""
        return any(start <= at < end for at in self.references)


def read_tree(text: str) -> Tree:
    """Parse ``text``.

    :raises NotUnderstoodError: it is not YAML, as with tabs for indentation; nested too deep.
    """
    try:
        documents = tuple(
            node for node in yaml.compose_all(text, Loader=_Loader) if node is not None
        )
        references = frozenset(
            event.start_mark.index if event.start_mark is not None else 0
            for event in yaml.parse(text, Loader=_Loader)
            if getattr(event, "anchor", None) is not None
        )
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise NotUnderstoodError(
            f"not valid YAML: {what}", mark.line + 1 if mark is not None else 1
        ) from error
    except RecursionError as error:
        raise NotUnderstoodError("nested too deep to be read", 1) from error
    return Tree(documents, references)


def value_of(node: yaml.Node) -> Any:
    """The node as plain data.

    :raises NotUnderstoodError: a tag of an application, an impossible date, ...
    """
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        raise NotUnderstoodError(
            f"a value cannot be read: {error}".split("\n")[0], node.start_mark.line + 1
        ) from error
    finally:
        loader.dispose()
