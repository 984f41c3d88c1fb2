"""What is done with an operator and with its results, after the operator was replaced.

The old generator returned the item's own keys beside ``generated``, or a tuple; the new one
returns a dict with the item under ``context``. The old names stay where they are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import libcst as cst
from libcst.metadata import Assignment

from sagellm_core.migrate.edit import Edit

from .module import Module, dotted, string_value

Kind = Literal["vllm", "openai", "hf"]

#: Keys that both results have.
_SAME = frozenset(("generated", "usage"))
_METHODS = frozenset(("execute", "shutdown", "stream_async", "timeout", "default_options"))
_OF_SAGE = frozenset(("ctx", "name", "logger", "call_service"))


def follow_operator(module: Module, call: cst.Call, kind: Kind) -> list[Edit]:
    """The edits at the results of the operator that ``call`` constructs."""
    edits: list[Edit] = []
    for use in _uses_of_value(module, call):
        method = module.parent(use)
        if not isinstance(method, cst.Attribute) or method.value is not use:
            continue
        name = method.attr.value
        execution = module.parent(method)
        if name == "execute" and isinstance(execution, cst.Call) and execution.func is method:
            edits += _follow_result(module, execution, kind)
        elif name not in _METHODS | _OF_SAGE:
            module.check(method, f"SageLLMGenerator has no {name} of VLLMGenerator's")
    return edits


def _uses_of_value(module: Module, value: cst.BaseExpression) -> Iterator[cst.CSTNode]:
    """Expressions that are ``value``: itself, and names or attributes bound to nothing else."""
    yield value
    statement = module.parent(value)
    if isinstance(statement, cst.Assign) and len(statement.targets) == 1:
        target: cst.BaseExpression = statement.targets[0].target
    elif isinstance(statement, (cst.AnnAssign, cst.NamedExpr)) and statement.value is value:
        target = statement.target
    else:
        return
    if isinstance(target, cst.Name):
        yield from _uses_of_name(module, target, value)
    elif dotted(target).startswith("self.") and dotted(target).count(".") == 1:
        yield from _uses_of_attribute(module, target)


def _uses_of_name(
    module: Module, target: cst.Name, value: cst.BaseExpression
) -> Iterator[cst.CSTNode]:
    scope = module.scope(value)
    if scope is None:
        return
    bound = [each for each in scope.assignments[target.value] if isinstance(each, Assignment)]
    ours = [each for each in bound if each.node is target]
    if len(ours) != 1:
        return
    for each in bound:
        statement = module.parent(module.parent(each.node))
        plain = isinstance(statement, cst.Assign) and dotted(statement.value) == "None"
        if each is not ours[0] and not plain:
            return
    for access in sorted(ours[0].references, key=lambda each: module.span(each.node)):
        if all(referent in bound for referent in access.referents):
            yield access.node


def _uses_of_attribute(module: Module, target: cst.BaseExpression) -> Iterator[cst.CSTNode]:
    path = dotted(target)
    owner = next(
        (each for each in module.ancestors(target) if isinstance(each, cst.ClassDef)), None
    )
    if owner is None:
        return
    found = [
        node
        for node in module.every(cst.Attribute)
        if dotted(node) == path and any(each is owner for each in module.ancestors(node))
    ]
    for node in found:
        parent = module.parent(node)
        statement = module.parent(parent)
        if isinstance(parent, cst.AssignTarget) and node is not target:
            if not (isinstance(statement, cst.Assign) and dotted(statement.value) == "None"):
                return
        elif isinstance(parent, cst.AnnAssign) and node is not target and parent.value:
            return
    yield from (node for node in found if node is not target)


def _follow_result(module: Module, execution: cst.Call, kind: Kind) -> list[Edit]:
    parent = module.parent(execution)
    if isinstance(parent, cst.Assign) and len(parent.targets) == 1:
        target = parent.targets[0].target
        if isinstance(target, (cst.Tuple, cst.List)):
            return _unpacked(module, execution, target)
    keys: list[Edit] = []
    stored = {
        key
        for use in _uses_of_value(module, execution)
        if (key := _stored_key(module, use)) is not None
    }
    escapes = False
    for use in _uses_of_value(module, execution):
        outer = module.parent(use)
        if isinstance(outer, cst.Subscript) and outer.value is use:
            keys += _subscript(module, outer, kind, stored)
        elif isinstance(outer, cst.Attribute) and outer.value is use:
            keys += _method(module, outer, kind)
        elif use is not execution or isinstance(outer, (cst.Return, cst.Arg, cst.Yield)):
            escapes = True
    if escapes and (kind != "vllm" or _items(execution)):
        module.check(
            execution,
            "the result goes elsewhere; it is a dict with text, generated and usage, and the "
            "item is under context",
        )
    return keys


def _items(execution: cst.Call) -> list[cst.BaseExpression]:
    """``[original, prompt]`` of the call, where it is written out; else empty."""
    if len(execution.args) != 1 or not isinstance(execution.args[0].value, (cst.List, cst.Tuple)):
        return []
    elements = execution.args[0].value.elements
    if len(elements) < 2 or any(isinstance(each, cst.StarredElement) for each in elements):
        return []
    return [each.value for each in elements]


def _unpacked(module: Module, execution: cst.Call, target: cst.Tuple | cst.List) -> list[Edit]:
    """``original, text = gen.execute([original, prompt])``."""
    items = _items(execution)
    if len(target.elements) != 2 or not items:
        module.left(execution, "its result is unpacked; the new one is a dict")
        return []
    first = items[0]
    # Said twice, an expression must have the same value and no effects.
    if not isinstance(first, (cst.SimpleString, cst.Integer, cst.Float)) and not dotted(first):
        module.left(execution, "its result is unpacked, and the item is computed in the call")
        return []
    start, end = module.span(execution)
    module.changed(execution, 'tuple of item and text -> item and result["generated"]')
    return [Edit(start, start, f"{module.source(first)}, "), Edit(end, end, '["generated"]')]


def _key_of(subscript: cst.Subscript) -> cst.BaseExpression | None:
    if len(subscript.slice) != 1 or not isinstance(subscript.slice[0].slice, cst.Index):
        return None
    return subscript.slice[0].slice.value


def _stored_key(module: Module, use: cst.CSTNode) -> str | None:
    outer = module.parent(use)
    if not isinstance(outer, cst.Subscript) or outer.value is not use:
        return None
    around = module.parent(outer)
    if isinstance(around, (cst.AssignTarget, cst.Del, cst.AugAssign)) and not (
        isinstance(around, cst.AugAssign) and around.value is outer
    ):
        key = _key_of(outer)
        return string_value(key) if key is not None else None
    return None


def _subscript(
    module: Module, subscript: cst.Subscript, kind: Kind, stored: set[str]
) -> list[Edit]:
    key = _key_of(subscript)
    if isinstance(key, cst.Integer):
        if key.evaluated_value == 1:
            module.changed(subscript, '[1] -> ["generated"]')
            return [module.edit(key, '"generated"')]
        if key.evaluated_value == 0:
            module.changed(subscript, '[0] -> ["context"]')
            return [module.edit(key, '"context"')]
    name = string_value(key) if key is not None else None
    if name in _SAME:
        return []
    if name is None:
        module.left(subscript, "a part of the result by a key that is not written out")
        return []
    if name == "metadata":
        module.left(subscript, 'the result has no "metadata"; see its provider and timings')
        return []
    if name in stored:
        return []
    if getattr(subscript.value, "rpar", ()):
        module.left(subscript, "a result in parentheses")
        return []
    if kind == "openai" and name == "question":
        module.left(subscript, 'the result has no "question"; the item is under context')
        return []
    at = module.span(subscript.value)[1]
    module.changed(subscript, f'["{name}"] -> ["context"]["{name}"]')
    return [Edit(at, at, '["context"]')]


def _method(module: Module, attribute: cst.Attribute, kind: Kind) -> list[Edit]:
    call = module.parent(attribute)
    if attribute.attr.value != "get" or not isinstance(call, cst.Call) or not call.args:
        module.check(attribute, "the item's own keys are under context in the new result")
        return []
    name = string_value(call.args[0].value)
    if name in _SAME:
        return []
    if name is None or name == "metadata" or (kind == "openai" and name == "question"):
        module.left(attribute, "the new result may not have this key; the item is under context")
        return []
    at = module.span(attribute.value)[1]
    module.changed(attribute, f'.get("{name}") -> ["context"].get("{name}")')
    return [Edit(at, at, '["context"]')]
