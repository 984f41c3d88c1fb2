"""A parsed module: nodes, their places, their parents, and what names mean."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

import libcst as cst
from libcst.metadata import (
    ByteSpanPositionProvider,
    MetadataWrapper,
    ParentNodeProvider,
    QualifiedNameProvider,
    QualifiedNameSource,
    Scope,
    ScopeProvider,
)

from sagellm_core.migrate.edit import Edit, Lines
from sagellm_core.migrate.finding import Finding, NotUnderstoodError, Rewrite

_Node = TypeVar("_Node", bound=cst.CSTNode)


class Module:
    """One Python file.

    :raises NotUnderstoodError: it does not parse; the line is in the error.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = Lines(text)
        self.out = Rewrite()
        refuse_unparsable(text)
        try:
            tree = cst.parse_module(text)
            same = tree.code == text
        except cst.ParserSyntaxError as error:
            raise NotUnderstoodError("does not parse as Python", error.raw_line) from error
        except RecursionError as error:
            raise NotUnderstoodError("nested too deep to be read", 1) from error
        if not same:
            raise NotUnderstoodError("cannot be written back unchanged", 1)
        try:
            wrapper = MetadataWrapper(tree, unsafe_skip_copy=True)
            self._names, spans, self._parents, self._scopes = (
                wrapper.resolve(QualifiedNameProvider),
                wrapper.resolve(ByteSpanPositionProvider),
                wrapper.resolve(ParentNodeProvider),
                wrapper.resolve(ScopeProvider),
            )
            self.nodes = tuple(_walk(wrapper.module))
        except RecursionError as error:
            raise NotUnderstoodError("nested too deep to be read", 1) from error
        self._spans: Any = spans
        # Spans are of bytes; everything here counts characters.
        self._ascii = text.isascii()
        self._bytes = b"" if self._ascii else text.encode("utf-8", "surrogatepass")
        self._offsets: dict[int, int] = {}

    def every(self, kind: type[_Node]) -> Iterator[_Node]:
        """All nodes of one type, in the order of the text."""
        return (node for node in self.nodes if isinstance(node, kind))

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        """Where a node stands, without parentheses around it, in characters."""
        span = self._spans[node]
        return self._offset(span.start), self._offset(span.start + span.length)

    def _offset(self, at: int) -> int:
        if self._ascii:
            return at
        if at not in self._offsets:
            self._offsets[at] = len(self._bytes[:at].decode("utf-8", "surrogatepass"))
        return self._offsets[at]

    def source(self, node: cst.CSTNode) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def line(self, node: cst.CSTNode) -> int:
        """The line that a node begins in, from 1."""
        return self.lines.number(self.span(node)[0])

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        """The node around a node; the module for the module."""
        return self._parents.get(node, node)

    def ancestors(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """Nodes around a node, inner ones first."""
        while (outer := self._parents.get(node)) is not None:
            yield outer
            node = outer

    def imported_as(self, node: cst.CSTNode) -> frozenset[str]:
        """The dotted names that an expression may stand for because of imports."""
        found = self._names.get(node, ())
        names = found() if callable(found) else found
        return frozenset(name.name for name in names if name.source is QualifiedNameSource.IMPORT)

    def scope(self, node: cst.CSTNode) -> Scope | None:
        """The scope that a node is evaluated in."""
        for each in (node, *self.ancestors(node)):
            found = self._scopes.get(each)
            if found is not None:
                return found
        return None

    def scopes(self) -> set[Scope]:
        """All scopes of the module."""
        return {scope for scope in self._scopes.values() if scope is not None}

    def edit(self, node: cst.CSTNode, new: str) -> Edit:
        """Replace a node."""
        return Edit(*self.span(node), new)

    def left(self, node: cst.CSTNode, reason: str) -> None:
        """Say that something old at ``node`` stays."""
        finding = Finding(self.line(node), reason)
        if finding not in self.out.left:
            self.out.left.append(finding)

    def changed(self, node: cst.CSTNode, what: str) -> None:
        """Say what an edit at ``node`` does."""
        self.out.changes.append(Finding(self.line(node), what))

    def check(self, node: cst.CSTNode, what: str) -> None:
        """Say what deserves a look at ``node``."""
        finding = Finding(self.line(node), what)
        if finding not in self.out.check:
            self.out.check.append(finding)

    def literal(self, node: cst.CSTNode) -> Any:
        """The value of a literal.

        :raises ValueError: it is none.
        """
        try:
            return ast.literal_eval(self.source(node))
        except (SyntaxError, MemoryError, RecursionError, TypeError) as error:
            raise ValueError(str(error)) from error


def refuse_unparsable(text: str) -> None:
    """See that Python can parse ``text``.

    :raises NotUnderstoodError: it cannot; the line is in the error.
    """
    # Python's own parser goes first: it has limits where libcst's overflows the stack, which
    # would end the process.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except SyntaxError as error:
        raise NotUnderstoodError(
            f"does not parse as Python: {error.msg}", error.lineno or 1
        ) from error
    except (RecursionError, MemoryError) as error:
        raise NotUnderstoodError("nested too deep to be read", 1) from error
    except ValueError as error:
        raise NotUnderstoodError(f"does not parse as Python: {error}", 1) from error


def dotted(node: cst.CSTNode | None) -> str:
    """``a.b.c`` of names and attributes; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, cst.Attribute):
        parts.append(node.attr.value)
        node = node.value
    if not isinstance(node, cst.Name):
        return ""
    return ".".join([node.value, *reversed(parts)])


def string_value(node: cst.CSTNode) -> str | None:
    """The value of a plain string literal."""
    if not isinstance(node, cst.SimpleString):
        return None
    value = node.evaluated_value
    return value if isinstance(value, str) else None


def _walk(tree: cst.CSTNode) -> Iterator[cst.CSTNode]:
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(node.children))
