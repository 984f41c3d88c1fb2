"""Import statements: a name in them gets another, goes, or is added."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst
from libcst.metadata import ImportAssignment

from sagellm_core.migrate.edit import Edit
from sagellm_core.migrate.finding import NotUnderstoodError

from .module import Module, dotted
from .names import Renamed, Use


def rename_imports(module: Module, renamed: Renamed) -> list[Edit]:
    """The edits in import statements."""
    edits: list[Edit] = []
    for statement in module.every(cst.ImportFrom):
        source = dotted(statement.module) if not statement.relative else ""
        if (source == renamed.path or source.startswith(f"{renamed.path}.")) and isinstance(
            statement.module, cst.Attribute
        ):
            node: cst.BaseExpression = statement.module
            for _ in range(source.count(".") - renamed.path.count(".")):
                assert isinstance(node, cst.Attribute)
                node = node.value
            assert isinstance(node, cst.Attribute)
            edits.append(module.edit(node.attr, renamed.new))
            module.changed(statement, f"{renamed.old} -> {renamed.new}")
        elif source in renamed.modules and not isinstance(statement.names, cst.ImportStar):
            mine = [alias for alias in statement.names if dotted(alias.name) == renamed.old]
            there = any(
                dotted(alias.name) == renamed.new and alias.asname is None
                for alias in statement.names
            )
            if mine and source == renamed.package:
                if len(statement.names) > 1:
                    raise NotUnderstoodError(
                        f"{source} does not have {renamed.new}, and passes on the other names",
                        module.line(statement),
                    )
                assert statement.module is not None
                edits.append(module.edit(statement.module, renamed.module))
            for alias in mine:
                if there and alias.asname is None:
                    edits.append(removed_name(module, statement, alias))
                else:
                    edits.append(module.edit(alias.name, renamed.new))
                module.changed(alias, f"import of {renamed.old} -> {renamed.new}")
    for plain in module.every(cst.Import):
        for alias in plain.names:
            name = dotted(alias.name)
            if name == renamed.path and isinstance(alias.name, cst.Attribute):
                edits.append(module.edit(alias.name.attr, renamed.new))
                module.changed(alias, f"import of {renamed.old} -> {renamed.new}")
    return edits


def import_submodule(module: Module, renamed: Renamed, found: Sequence[Use]) -> list[Edit]:
    """The edit that imports ``renamed.module`` where only the package above it is imported.

    ``ops.llm`` is there for those who import it: SAGE's own package did so for everybody.

    :raises NotUnderstoodError: the import cannot be added.
    """
    through = [use for use in found if _through_package(module, use, renamed)]
    if not renamed.package or not through or _loads(module, renamed.module):
        return []
    if any(
        not isinstance(each, ImportAssignment) or not isinstance(each.node, cst.Import)
        for scope in module.scopes()
        for each in scope.assignments["sage"]
    ):
        raise NotUnderstoodError("sage is the name of something else", module.line(through[0].node))
    statement = _import_of(module, renamed.package)
    if statement is None:
        raise NotUnderstoodError(f"{renamed.module} is not imported", module.line(through[0].node))
    module.changed(statement, f"import of {renamed.module}")
    return [line_after(module, statement, f"import {renamed.module}")]


def line_after(module: Module, statement: cst.CSTNode, text: str) -> Edit:
    """The edit that adds a line after a statement.

    :raises NotUnderstoodError: the statement shares its line with others.
    """
    start, end = module.span(statement)
    indent = module.lines.indent(start)
    at = module.lines.end(end)
    rest = module.text[end:at].strip()
    if module.text[module.lines.start(start) : start].strip() or rest[:1] not in ("", "#"):
        raise NotUnderstoodError(
            "its import shares a line with other statements", module.line(statement)
        )
    newline = module.lines.newline
    if at == len(module.text) and not module.text.endswith(("\n", "\r")):
        return Edit(at, at, f"{newline}{indent}{text}")
    return Edit(at, at, f"{indent}{text}{newline}")


def _through_package(module: Module, use: Use, renamed: Renamed) -> bool:
    node: cst.CSTNode = use.node
    while isinstance(node, cst.Attribute):
        node = node.value
        if renamed.package in module.imported_as(node):
            return True
    return False


def _loads(module: Module, wanted: str) -> bool:
    return _import_of(module, wanted) is not None or any(
        dotted(statement.module) == wanted and not statement.relative
        for statement in module.every(cst.ImportFrom)
    )


def _import_of(module: Module, wanted: str) -> cst.Import | cst.ImportFrom | None:
    """The statement that imports a module itself."""
    for plain in module.every(cst.Import):
        if any(dotted(alias.name) == wanted for alias in plain.names):
            return plain
    for statement in module.every(cst.ImportFrom):
        source = dotted(statement.module) if not statement.relative else ""
        if not isinstance(statement.names, cst.ImportStar) and any(
            f"{source}.{dotted(alias.name)}" == wanted for alias in statement.names
        ):
            return statement
    return None


def removed_name(module: Module, statement: cst.ImportFrom, alias: cst.ImportAlias) -> Edit:
    """The edit that takes one of several names out of an import."""
    assert not isinstance(statement.names, cst.ImportStar)
    position = list(statement.names).index(alias)
    start, end = module.span(alias)
    if position + 1 < len(statement.names):
        following = module.span(statement.names[position + 1])[0]
        if "#" in module.text[end:following]:
            raise NotUnderstoodError("a comment stands between imported names", module.line(alias))
        return Edit(start, following, "")
    before = module.span(statement.names[position - 1])[1]
    if "#" in module.text[before:start]:
        raise NotUnderstoodError("a comment stands between imported names", module.line(alias))
    return Edit(before, end, "")
