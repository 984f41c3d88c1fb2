"""Old names that nothing else of this package has spoken about: they are listed, not touched."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from sagellm_core.migrate.requirements import is_vllm

from .module import Module, dotted, string_value

_OLD = frozenset(("VLLMGenerator", "VLLMEmbedding", "vllm_registry"))
#: Arguments of ``setup()`` that are lists of requirements.
_REQUIREMENTS = frozenset(("install_requires", "extras_require", "setup_requires", "tests_require"))


def list_leftovers(module: Module) -> None:
    """List old names that come from elsewhere, are not edited and are nowhere listed in the file.

    That is: attributes of something that is not known (``m.VLLMGenerator``), imports from other
    packages, which may pass SAGE's own on, and names that ``getattr`` looks up. A name that the
    file itself defines is its own.
    """
    listed = {name for name in _OLD for finding in module.out.left if name in finding.text}
    edited = [(edit.start, edit.end) for edit in module.out.edits]
    for node, name in _named(module):
        start, end = module.span(node)
        if name in listed or any(a < end and start < b for a, b in edited):
            continue
        module.left(node, f"{name} comes from a place that is not followed")
    for node in _setup_requirements(module):
        module.left(node, "a requirement on vllm in a call of setup()")


def _named(module: Module) -> Iterator[tuple[cst.CSTNode, str]]:
    for node in module.nodes:
        if isinstance(node, cst.Attribute) and node.attr.value in _OLD:
            if not isinstance(module.parent(node), (cst.ImportAlias, cst.ImportFrom)):
                yield node.attr, node.attr.value
        elif isinstance(node, cst.ImportAlias):
            last = dotted(node.name).rpartition(".")[2]
            if last in _OLD:
                yield node, last
        elif isinstance(node, cst.ImportFrom):
            last = dotted(node.module).rpartition(".")[2]
            if last in _OLD and node.module is not None:
                yield node.module, last
        elif isinstance(node, cst.Call) and dotted(node.func) in ("getattr", "hasattr", "setattr"):
            for argument in node.args[1:2]:
                value = string_value(argument.value)
                if value in _OLD:
                    yield argument, value


def _setup_requirements(module: Module) -> Iterator[cst.CSTNode]:
    for node in module.every(cst.SimpleString):
        value = string_value(node)
        if value and is_vllm(value):
            for outer in module.ancestors(node):
                if isinstance(outer, cst.BaseStatement):
                    break
                if (
                    isinstance(outer, cst.Arg)
                    and outer.keyword is not None
                    and outer.keyword.value in _REQUIREMENTS
                ):
                    yield node
                    break
