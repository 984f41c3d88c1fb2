"""Scripts of vLLM's offline interface: ``from vllm import LLM, SamplingParams``."""

from __future__ import annotations

import libcst as cst

from sagellm_core.migrate.edit import Edit

from .module import Module, dotted
from .names import uses

_NEW = "sagellm_core.compat.vllm"
#: What the stand-in has.
COVERED = frozenset(("LLM", "SamplingParams", "RequestOutput", "CompletionOutput"))
#: Where vLLM itself keeps these names, besides its top.
_PLACES = frozenset(("vllm", "vllm.outputs", "vllm.sampling_params"))


def needs_vllm(module: Module, *, everything: bool = False) -> int:
    """The line of the first use of vLLM that the stand-in does not cover; 0 for none.

    :param everything: count every import of vLLM.
    """
    for statement in module.every(cst.ImportFrom):
        source = dotted(statement.module) if not statement.relative else ""
        if source.split(".")[0] != "vllm":
            continue
        if everything or source not in _PLACES or isinstance(statement.names, cst.ImportStar):
            return module.line(statement)
        for alias in statement.names:
            if dotted(alias.name) not in COVERED:
                return module.line(alias)
    for plain in module.every(cst.Import):
        for alias in plain.names:
            name = dotted(alias.name)
            if name.startswith("vllm.") or (everything and name == "vllm"):
                return module.line(alias)
    for use in uses(module, "vllm", inside=True):
        if use.rest.split(".")[0] not in COVERED:
            return module.line(use.node)
    return 0


def rewrite_vllm_script(module: Module) -> None:
    """Change the imports; the rest of the script stays as it is."""
    edits: list[Edit] = []
    for statement in module.every(cst.ImportFrom):
        if not statement.relative and dotted(statement.module) in _PLACES:
            assert statement.module is not None
            edits.append(module.edit(statement.module, _NEW))
            module.changed(statement, f"{dotted(statement.module)} -> {_NEW}")
    for plain in module.every(cst.Import):
        for alias in plain.names:
            if dotted(alias.name) == "vllm":
                new = _NEW if alias.asname is not None else f"{_NEW} as vllm"
                edits.append(module.edit(alias.name, new))
                module.changed(alias, f"vllm -> {_NEW}")
    module.out.edits += edits
