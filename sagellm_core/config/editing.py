"""Changing some keys of one section, and not a byte of anything else.

The text is edited where the parser says a value stands, instead of being written anew from data:
comments, order, quotes, indentation and line ends of the rest cannot change then. That nothing
else changed is checked afterwards all the same, by comparing both documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from .document import Document, is_null, kind_of, parse_document, section_parts
from .problem import Problem, ProblemFound
from .same_document import same_but_for

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_PLAIN = re.compile(r"[A-Za-z][\w./+-]*|[0-9]+", re.ASCII)

Scalar = str | int
Pair = tuple[yaml.Node, yaml.Node]


def with_values(path: Path, text: str, section: str, values: Mapping[str, Scalar]) -> str:
    """``text`` with ``values`` in its section, which is made where there is none.

    A key that has its value already is left as it is written.

    :raises ProblemFound: the text is not valid YAML, or cannot be changed without touching
        something else, as where a value is an anchor that is used elsewhere.
    """
    parts = section_parts(path, section)
    before = _sound(path, text)
    if not values:
        return text
    changed = text
    for key, value in values.items():
        document = parse_document(path, changed)
        changed = _Edit(document, parts).set(key, value)
        try:
            parse_document(path, changed)
        except ProblemFound as found:
            raise _refused(path, section, values, found.problem.message) from None
    after = parse_document(path, changed)
    if after.problems or not same_but_for(before, after, parts, values):
        raise _refused(path, section, values, "something else would change with it")
    return changed


class _Edit:
    """One change of a text."""

    def __init__(self, document: Document, parts: Sequence[str]) -> None:
        self.document = document
        self.text = document.text
        self.parts = parts
        found = _BREAK.search(self.text)
        self.line_break = found.group() if found else "\n"

    def set(self, key: str, value: Scalar) -> str:
        """The text with ``key: value`` in the section."""
        node, pair = self.document.root, None
        for depth, part in enumerate(self.parts):
            inner = self._entry(node, part)
            if inner is None:
                return self._add(node, pair, [*self.parts[depth:], key], value)
            node, pair = inner[1], inner
        if isinstance(node, yaml.MappingNode):
            if self._has(node, key, value):
                return self.text
            inner = self._entry(node, key)
            if inner is not None:
                return self._replace(node, inner, value)
        return self._add(node, pair, [key], value)

    def _entry(self, node: yaml.Node | None, key: str) -> Pair | None:
        """The pair as it stands in the text; what is merged into a mapping stands elsewhere."""
        if not isinstance(node, yaml.MappingNode):
            return None
        found = [pair for pair in node.value if self.document.loader.key_of(pair[0]) == key]
        return found[-1] if found else None

    def _has(self, node: yaml.MappingNode, key: str, value: Scalar) -> bool:
        # Looked up in a copy of the document, because looking through merge keys resolves them.
        copy = parse_document(self.document.path, self.text)
        pair = copy.entry(copy.find(".".join(self.parts)), key)
        if pair is None or not isinstance(pair[1], yaml.ScalarNode):
            return False
        there = copy.construct(pair[1])
        return type(there) is type(value) and there == value

    def _replace(self, parent: yaml.MappingNode, pair: Pair, value: Scalar) -> str:
        key, old = pair
        start, end = self._span(parent, pair)
        tail = ""
        if isinstance(old, yaml.ScalarNode):
            if start == end:  # `key:` with nothing after it
                return f"{self.text[:start]} {_written(value)}{self.text[end:]}"
            if old.style in ("|", ">") and _BREAK.fullmatch(self.text[end - 1 : end]):
                tail = self.line_break
        elif not _is_flow(old) and (id(parent), id(key)) not in self.document.loader.alias_spans:
            message = f"{'.'.join([*self.parts, str(key.value)])} is {kind_of(old)}."
            raise ProblemFound(self.document.problem(key, message, "Remove it, and run again."))
        return self.text[:start] + _written(value) + tail + self.text[end:]

    def _add(
        self, node: yaml.Node | None, pair: Pair | None, keys: Sequence[str], value: Scalar
    ) -> str:
        """Add a chain of keys to a mapping, to an empty value, or to an empty file."""
        if isinstance(node, yaml.MappingNode) and _is_flow(node):
            return self._add_to_flow(node, keys, value)
        if isinstance(node, yaml.MappingNode):
            last = node.value[-1]
            indent = _column(last[0])
            return self._insert_lines(self._end(node, last), self._block(keys, value, indent))
        if node is None or (pair is None and is_null(node)):
            return self._insert_lines(len(self.text), self._block(keys, value, 0))
        if pair is None or not is_null(node):
            message = f"{kind_of(node)} stands where the section {'.'.join(self.parts)} belongs."
            raise ProblemFound(self.document.problem(node, message, "Make it a mapping."))
        start, end = _marks(node)
        if start == end and self._in_block(pair[0]):
            lines = self._block(keys, value, _column(pair[0]) + self._step())
            return self._insert_lines(start, lines)
        flow = _flow(keys, value)
        space = " " if start == end else ""
        return f"{self.text[:start]}{space}{{{flow}}}{self.text[end:]}"

    def _add_to_flow(self, node: yaml.MappingNode, keys: Sequence[str], value: Scalar) -> str:
        entry = _flow(keys, value)
        if node.value:
            at = self._span(node, node.value[-1])[1]
            return f"{self.text[:at]}, {entry}{self.text[at:]}"
        at = self.text.index("{", _marks(node)[0]) + 1
        return self.text[:at] + entry + self.text[at:]

    def _insert_lines(self, at: int, lines: Sequence[str]) -> str:
        """Insert lines after the one in which ``at`` is."""
        block = "".join(line + self.line_break for line in lines)
        if at > 0 and not _BREAK.fullmatch(self.text[at - 1]):
            found = _BREAK.search(self.text, at)
            if found is None:
                mark_only = self.text[:at].strip("\ufeff") == "" and at == len(self.text)
                return self.text + ("" if mark_only else self.line_break) + block
            at = found.end()
        return self.text[:at] + block + self.text[at:]

    def _block(self, keys: Sequence[str], value: Scalar, indent: int) -> list[str]:
        step = self._step()
        lines = [
            " " * (indent + step * depth) + f"{_written(key)}:" for depth, key in enumerate(keys)
        ]
        lines[-1] += f" {_written(value)}"
        return lines

    def _step(self) -> int:
        """By how many columns this file indents a mapping in a mapping."""
        root = self.document.root
        if isinstance(root, yaml.MappingNode) and not root.flow_style:
            for key, value in root.value:
                if isinstance(value, yaml.MappingNode) and not value.flow_style:
                    step = _column(value.value[0][0]) - _column(key)
                    if step > 0:
                        return step
        return 2

    def _in_block(self, key: yaml.Node) -> bool:
        start = _marks(key)[0]
        line = max(self.text.rfind(each, 0, start) for each in "\n\r") + 1
        return not self.text[line:start].strip(" \ufeff")

    def _span(self, parent: yaml.Node, pair: Pair) -> tuple[int, int]:
        """Where the value of a pair stands; an alias, where the alias does."""
        return self.document.loader.alias_spans.get((id(parent), id(pair[0]))) or _marks(pair[1])

    def _end(self, parent: yaml.Node, pair: Pair) -> int:
        """Where the last value inside a pair ends.

        A block collection's own mark is where the next token begins, behind comments.
        """
        node, span = pair[1], self._span(parent, pair)
        while isinstance(node, (yaml.MappingNode, yaml.SequenceNode)) and not node.flow_style:
            if span != _marks(node) or not node.value:
                break
            if isinstance(node, yaml.MappingNode):
                last = node.value[-1]
                span, node = self._span(node, last), last[1]
            else:
                place = (id(node), len(node.value) - 1)
                span = self.document.loader.alias_spans.get(place) or _marks(node.value[-1])
                node = node.value[-1]
        return span[1]


def _sound(path: Path, text: str) -> Document:
    document = parse_document(path, text)
    for problem in document.problems:
        raise ProblemFound(problem)
    return document


def _refused(path: Path, section: str, values: Mapping[str, Scalar], why: str) -> ProblemFound:
    written = ", ".join(f"{key}: {_written(value)}" for key, value in values.items())
    message = f"the section {section} cannot be changed by itself: {why.rstrip('.')}."
    return ProblemFound(Problem(path, None, message, f"Write it yourself: {written}"))


def _flow(keys: Sequence[str], value: Scalar) -> str:
    entry = f"{_written(keys[-1])}: {_written(value)}"
    for key in reversed(keys[:-1]):
        entry = f"{_written(key)}: {{{entry}}}"
    return entry


def _written(value: Scalar) -> str:
    """A scalar in YAML, in quotes where it would be taken for something else."""
    text = str(value)
    if isinstance(value, int):
        return text
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _is_flow(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and bool(node.flow_style)


def _marks(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.index, node.end_mark.index


def _column(node: yaml.Node) -> int:
    column: int = node.start_mark.column
    return column
