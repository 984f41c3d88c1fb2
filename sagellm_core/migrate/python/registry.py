"""``vllm_registry`` becomes ``sagellm_registry``."""

from __future__ import annotations

import libcst as cst

from sagellm_core.migrate.edit import Edit
from sagellm_core.migrate.finding import NotUnderstoodError

from .imports import rename_imports
from .module import Module, dotted, string_value
from .names import (
    Renamed,
    Use,
    check_bindings,
    optional_bindings,
    rename_use,
    uses,
)

_REGISTRY = Renamed("sage.common.model_registry", "vllm_registry", "sagellm_registry")
#: What both registries have.
_SHARED = frozenset(
    (
        "ModelInfo",
        "ModelNotFoundError",
        "ModelRegistryError",
        "delete_model",
        "download_model",
        "ensure_model_available",
        "fetch_recommended_models",
        "get_model_path",
        "list_models",
        "touch_model",
    )
)


def rewrite_registry(module: Module) -> None:
    """Rename the registry; where code waits for its exception, call what still raises one."""
    found = list(uses(module, _REGISTRY.path, inside=True))
    edits: list[Edit] = []
    try:
        check_bindings(module, _REGISTRY)
        for use in found:
            edits += _rewrite_use(module, use)
        edits += optional_bindings(module, _REGISTRY)
        _check_imported(module)
    except NotUnderstoodError as error:
        module.left(_at(module, error, found), f"vllm_registry: {error.reason}")
        return
    before = len(module.out.changes)
    edits += rename_imports(module, _REGISTRY)
    for use in found:
        if use.rest.split(".")[0] == "get_model_path":
            _mention_none(module, use)
    if len(module.out.changes) > before or edits:
        module.out.edits += edits


def _at(module: Module, error: NotUnderstoodError, found: list[Use]) -> cst.CSTNode:
    for node in module.nodes[1:]:
        if (
            error.line
            and isinstance(node, (cst.Name, cst.Attribute))
            and (module.line(node) == error.line)
        ):
            return node
    return found[0].node if found else module.nodes[0]


def _rewrite_use(module: Module, use: Use) -> list[Edit]:
    name = use.rest.split(".")[0]
    if name and name not in _SHARED:
        raise NotUnderstoodError(f"{name} is no part of sagellm_registry", module.line(use.node))
    return rename_use(module, use, _REGISTRY) + _raising_call(module, use)


def _check_imported(module: Module) -> None:
    for statement in module.every(cst.ImportFrom):
        if dotted(statement.module) == _REGISTRY.path and not statement.relative:
            if isinstance(statement.names, cst.ImportStar):
                raise NotUnderstoodError("a star import", module.line(statement))
            for alias in statement.names:
                if dotted(alias.name) not in _SHARED:
                    raise NotUnderstoodError(
                        f"{dotted(alias.name)} is no part of sagellm_registry", module.line(alias)
                    )


def _in_try(module: Module, node: cst.CSTNode) -> bool:
    """Whether an exception of ``node`` is caught in the same function."""
    inner = node
    for outer in module.ancestors(node):
        if isinstance(outer, (cst.FunctionDef, cst.Lambda, cst.ClassDef)):
            return False
        if isinstance(outer, cst.Try) and inner is outer.body and outer.handlers:
            return True
        inner = outer
    return False


def _raising_call(module: Module, use: Use) -> list[Edit]:
    """``get_model_path(x)`` where its exception is caught: the call that still raises."""
    call = module.parent(use.node)
    if (
        use.rest != "get_model_path"
        or not isinstance(use.node, cst.Attribute)
        or not (isinstance(call, cst.Call) and call.func is use.node)
        or not _in_try(module, call)
        or len(call.args) != 1
        or call.args[0].star
        or (call.args[0].keyword is not None and call.args[0].keyword.value != "model_id")
    ):
        return []
    end = module.span(call.args[0])[1]
    return [
        module.edit(use.node.attr, "ensure_model_available"),
        Edit(end, end, ", auto_download=False"),
    ]


def _mention_none(module: Module, use: Use) -> None:
    if _raising_call(module, use):
        module.changed(use.node, "get_model_path -> ensure_model_available, which raises")
    elif isinstance(module.parent(use.node), cst.Call):
        module.check(
            use.node,
            "get_model_path returns None for a model that is not there, where it raised "
            "ModelNotFoundError"
            + ("; the exception is caught here" if _in_try(module, use.node) else ""),
        )


def list_strings(module: Module) -> None:
    """Old dotted names in strings, as for importlib or a patch in a test."""
    old = (_REGISTRY.path, "sage.middleware.operators.llm.VLLM")
    for string in module.every(cst.SimpleString):
        value = string_value(string)
        if value and value.startswith(old) and value.replace(".", "").isidentifier():
            module.left(string, f"the string {value!r} names something of vLLM's")
