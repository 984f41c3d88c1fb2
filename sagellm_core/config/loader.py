"""PyYAML's safe loader, with what it forgets: repeated keys, places of aliases, bounded merges."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

#: Pairs that merge keys may copy in one file. Each anchor that merges ten copies of the one
#: before it would multiply them by ten.
_MOST_MERGED = 100_000

_MERGE_TAG = "tag:yaml.org,2002:merge"


class Loader(yaml.SafeLoader):
    """Composes and constructs as ``yaml.safe_load`` does."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        #: ``(id of the collection, id of the key or the index)`` to the span ``(start, end)`` of
        #: the alias that stands there.
        self.alias_spans: dict[tuple[int, int], tuple[int, int]] = {}
        self._flat: set[int] = set()
        self._merged = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As the base class; notes where aliases stand."""
        if self.check_event(yaml.AliasEvent) and index is not None:
            event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
            start, end = event.start_mark, event.end_mark
            assert start is not None, "events of a text have marks"
            assert end is not None, "events of a text have marks"
            place = id(index) if isinstance(index, yaml.Node) else index
            self.alias_spans[id(parent), place] = (start.index, end.index)
        return super().compose_node(parent, index)

    def key_of(self, node: yaml.Node) -> Hashable:
        """A key as Python sees it; keys that are no scalars only equal themselves."""
        if isinstance(node, yaml.ScalarNode):
            try:
                key: Hashable = self.construct_object(node)
            except (yaml.YAMLError, ValueError, OverflowError):
                return (node.tag, node.value)
            return key
        return id(node)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Resolve merge keys, each key once: explicit ones win, then the first of a list."""
        if id(node) in self._flat:
            return
        self._flat.add(id(node))
        if not any(key.tag == _MERGE_TAG for key, _ in node.value):
            return
        explicit = [pair for pair in node.value if pair[0].tag != _MERGE_TAG]
        merged: dict[Hashable, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE_TAG:
                for source in reversed(self._sources(node, value)):
                    self.flatten_mapping(source)
                    self._merged += len(source.value)
                    if self._merged > _MOST_MERGED:
                        raise yaml.constructor.ConstructorError(
                            None, None, f"merges over {_MOST_MERGED} entries", value.start_mark
                        )
                    merged |= {self.key_of(pair[0]): pair for pair in source.value}
        merged |= {self.key_of(pair[0]): pair for pair in explicit}
        node.value = list(merged.values())

    def _sources(self, node: yaml.MappingNode, value: yaml.Node) -> list[yaml.MappingNode]:
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        distinct: dict[int, yaml.MappingNode] = {}
        for item in items:
            if not isinstance(item, yaml.MappingNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "<< merges something that is no mapping", value.start_mark
                )
            if item is node:
                raise yaml.constructor.ConstructorError(
                    None, None, "<< merges a mapping into itself", value.start_mark
                )
            distinct.setdefault(id(item), item)
        return list(distinct.values())
