"""One imported name that got another: its imports, its uses, and whether all can follow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import Assignment, BuiltinAssignment, ImportAssignment

from sagellm_core.migrate.edit import Edit
from sagellm_core.migrate.finding import NotUnderstoodError

from .module import Module, dotted, string_value


@dataclass(frozen=True, slots=True)
class Renamed:
    """``module.old`` becomes ``module.new``."""

    module: str
    old: str
    new: str
    #: A package above ``module`` that passed the old name on, and does not pass on the new one.
    package: str = ""

    @property
    def path(self) -> str:
        """The old dotted name."""
        return f"{self.module}.{self.old}"

    @property
    def modules(self) -> tuple[str, ...]:
        """Where the old name could be imported from."""
        return (self.module, self.package) if self.package else (self.module,)


@dataclass(frozen=True, slots=True)
class Use:
    """One expression that stands for the old name: ``VG``, ``llm.VLLMGenerator``, ``"VG"``."""

    node: cst.CSTNode
    #: What follows the old name, as ``get_model_path`` in ``vllm_registry.get_model_path``.
    rest: str = ""


def uses(module: Module, path: str, *, inside: bool = False) -> Iterator[Use]:
    """The outermost expressions that stand for ``path``.

    :param inside: whether what is inside ``path``, as its functions, counts too.
    """
    skip: set[int] = set()
    for node in module.nodes:
        if id(node) in skip or not isinstance(node, (cst.Name, cst.Attribute, cst.SimpleString)):
            continue
        if isinstance(node, cst.SimpleString) and not in_annotation(module, node):
            continue
        found = module.imported_as(node)
        hits = [name for name in found if name == path or (inside and name.startswith(f"{path}."))]
        if not hits:
            continue
        inner: cst.BaseExpression = node
        while isinstance(inner, cst.Attribute):
            inner = inner.value
            skip.add(id(inner))
        yield Use(node, hits[0][len(path) + 1 :])


def in_annotation(module: Module, node: cst.CSTNode) -> bool:
    """Whether a node is part of a type annotation."""
    for outer in module.ancestors(node):
        if isinstance(outer, cst.Annotation):
            return True
        if isinstance(outer, cst.BaseStatement):
            return False
    return False


def rename_use(module: Module, use: Use, renamed: Renamed) -> list[Edit]:
    """The edit at a use; none where an alias stands."""
    node = use.node
    if isinstance(node, cst.SimpleString):
        start, _ = module.span(node)
        found = re.finditer(rf"\b{renamed.old}\b", module.source(node))
        return [Edit(start + at.start(), start + at.end(), renamed.new) for at in found]
    for _ in range(use.rest.count(".") + 1 if use.rest else 0):
        if not isinstance(node, cst.Attribute):
            return []  # imported from inside, as in `from ...vllm_registry import get_model_path`
        node = node.value
    last = node.attr if isinstance(node, cst.Attribute) else node
    if (
        renamed.package
        and isinstance(node, cst.Attribute)
        and f"{renamed.package}.{renamed.old}" in module.imported_as(node)
    ):
        below = renamed.module.removeprefix(f"{renamed.package}.")
        return [module.edit(last, f"{below}.{renamed.new}")]
    if isinstance(last, cst.Name) and last.value == renamed.old:
        return [module.edit(last, renamed.new)]
    return []


def check_bindings(module: Module, renamed: Renamed) -> None:
    """See that the local names are free to change.

    :raises NotUnderstoodError: the old name is also bound to something else, the new one is
        taken, or ``__all__`` exports the old one by name.
    """
    for statement in module.every(cst.ImportFrom):
        if dotted(statement.module) in renamed.modules and isinstance(
            statement.names, cst.ImportStar
        ):
            for word in module.every(cst.Name):
                if word.value == renamed.old:
                    raise NotUnderstoodError(
                        f"{renamed.old} comes from a star import", module.line(word)
                    )
    local = _local_names(module, renamed)
    for scope in module.scopes():
        for name in local:
            bound = list(scope.assignments[name])
            if any(_imports(each, renamed) for each in bound):
                for each in bound:
                    _check_binding(module, each, renamed, name)
        if renamed.old in local:
            for each in scope.assignments[renamed.new]:
                if not isinstance(each, (ImportAssignment, BuiltinAssignment)):
                    line = module.line(each.node) if isinstance(each, Assignment) else 0
                    raise NotUnderstoodError(f"{renamed.new} is the name of something else", line)
    for assign in module.every(cst.Assign):
        if any(dotted(target.target) == "__all__" for target in assign.targets):
            for node in _walk(assign.value):
                if string_value(node) == renamed.old:
                    raise NotUnderstoodError(
                        f"__all__ exports {renamed.old} by name", module.line(node)
                    )


def optional_bindings(module: Module, renamed: Renamed) -> list[Edit]:
    """The edits at ``VLLMGenerator = None`` where the import may fail."""
    edits: list[Edit] = []
    if renamed.old in _local_names(module, renamed):
        for scope in module.scopes():
            bound = list(scope.assignments[renamed.old])
            if any(_imports(each, renamed) for each in bound):
                edits += [
                    module.edit(each.node, renamed.new)
                    for each in bound
                    if isinstance(each, Assignment)
                    and not isinstance(each, ImportAssignment)
                    and isinstance(each.node, cst.Name)
                ]
    return edits


def _local_names(module: Module, renamed: Renamed) -> set[str]:
    names: set[str] = set()
    for statement in module.every(cst.ImportFrom):
        if dotted(statement.module) in renamed.modules and not isinstance(
            statement.names, cst.ImportStar
        ):
            names.update(
                alias.evaluated_alias or renamed.old
                for alias in statement.names
                if dotted(alias.name) == renamed.old
            )
    return names


def _imports(binding: object, renamed: Renamed) -> bool:
    if not isinstance(binding, ImportAssignment):
        return False
    node = binding.node
    if not isinstance(node, cst.ImportFrom) or isinstance(node.names, cst.ImportStar):
        return False
    return dotted(node.module) in renamed.modules and any(
        dotted(alias.name) == renamed.old for alias in node.names
    )


def _check_binding(module: Module, binding: object, renamed: Renamed, name: str) -> None:
    if _imports(binding, renamed) or isinstance(binding, BuiltinAssignment):
        return
    assert isinstance(binding, Assignment)
    node = binding.node
    parent = module.parent(node)
    if isinstance(parent, cst.AssignTarget):
        statement = module.parent(parent)
        if isinstance(statement, cst.Assign) and dotted(statement.value) == "None":
            return
    raise NotUnderstoodError(f"{name} is also defined here", module.line(node))


def _walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield node
    for child in node.children:
        yield from _walk(child)
