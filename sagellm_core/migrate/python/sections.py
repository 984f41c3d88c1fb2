"""``config["generator"]["vllm"]`` in code: which section it reads, and where its name stands."""

from __future__ import annotations

import libcst as cst
from libcst.metadata import Assignment

from sagellm_core.migrate.edit import Edit
from sagellm_core.migrate.old_config import SECTIONS

from .module import Module, string_value


def section_read(module: Module, node: cst.CSTNode) -> cst.SimpleString | None:
    """The string with the section's name, where ``node`` reads a section below ``generator``.

    ``node`` may be the expression itself, a ``.copy()`` of it, or a name that is bound to it
    once and nowhere else.
    """
    if isinstance(node, cst.Name):
        scope = module.scope(node)
        bound = list(scope[node.value]) if scope is not None else []
        if len(bound) != 1 or not isinstance(bound[0], Assignment):
            return None
        target = module.parent(bound[0].node)
        statement = module.parent(target)
        if not isinstance(target, cst.AssignTarget) or not isinstance(statement, cst.Assign):
            return None
        node = statement.value
    if (
        isinstance(node, cst.Call)
        and not node.args
        and isinstance(node.func, cst.Attribute)
        and node.func.attr.value == "copy"
    ):
        node = node.func.value
    last = _key(node)
    if last is None:
        return None
    owner, name = last
    before = _key(owner)
    if before is None or string_value(before[1]) != "generator":
        return None
    return name if string_value(name) in SECTIONS else None


def rename_section(module: Module, name: cst.SimpleString) -> Edit:
    """The edit that makes it read ``generator.sagellm``."""
    return module.edit(name, f"{name.prefix}{name.quote}sagellm{name.quote}")


def _key(node: cst.CSTNode) -> tuple[cst.CSTNode, cst.SimpleString] | None:
    """``owner`` and ``"key"`` of ``owner["key"]`` and ``owner.get("key")``."""
    if isinstance(node, cst.Subscript) and len(node.slice) == 1:
        index = node.slice[0].slice
        if isinstance(index, cst.Index) and isinstance(index.value, cst.SimpleString):
            return node.value, index.value
    if (
        isinstance(node, cst.Call)
        and isinstance(node.func, cst.Attribute)
        and node.func.attr.value == "get"
        and len(node.args) == 1
        and isinstance(node.args[0].value, cst.SimpleString)
    ):
        return node.func.value, node.args[0].value
    return None


def list_section_reads(module: Module, renamed: set[int]) -> None:
    """List what reads a vllm section and was not rewritten.

    :param renamed: ids of the strings that were.
    """
    for node in module.nodes:
        name = section_read(module, node) if not isinstance(node, (cst.Name, cst.Call)) else None
        if (
            name is not None
            and string_value(name) == "vllm"
            and id(name) not in renamed
            and not any(finding.line == module.line(name) for finding in module.out.left)
        ):
            module.left(
                name, "reads generator.vllm in a way that is not followed; see what uses it"
            )
