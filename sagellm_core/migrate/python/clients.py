"""``OpenAIGenerator`` and ``HFGenerator`` whose server, or model, is on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import GlobalScope, ImportAssignment

from sagellm_core.migrate.edit import Edit
from sagellm_core.migrate.finding import NotUnderstoodError
from sagellm_core.migrate.settings import Settings
from sagellm_core.migrate.survey import Survey

from .dicts import convert_dict
from .imports import line_after, removed_name
from .module import Module, dotted
from .names import Use, in_annotation
from .operators import map_arguments
from .results import Kind, follow_operator
from .sections import rename_section, section_read

_NEW = "SageLLMGenerator"
_IMPORT = f"from sage.middleware.operators.llm import {_NEW}"
_KINDS: dict[str, Kind] = {"OpenAIGenerator": "openai", "HFGenerator": "hf"}


@dataclass(slots=True)
class _Converted:
    use: Use
    call: cst.Call
    kind: Kind
    edits: list[Edit]


def rewrite_clients(module: Module, settings: Settings, survey: Survey, sections: set[int]) -> None:
    """Rewrite each use that is local; the name stays imported where another use needs it.

    :param sections: ids of the strings with section names that were rewritten; added to.
    """
    converted: list[_Converted] = []
    names: set[str] = set()
    gone: set[str] = set()
    for name, kind in _KINDS.items():
        stays = False
        for use in _uses(module, name):
            if in_annotation(module, use.node):
                stays = True
                continue
            try:
                converted.append(_convert(module, use, kind, settings, survey, sections))
                names.add(name)
            except NotUnderstoodError as error:
                module.left(use.node, f"{name}: {error.reason}")
                stays = True
        if name in names and not stays:
            gone.add(name)
    if not converted:
        return
    try:
        module.out.edits += _imports(module, names, gone)
    except NotUnderstoodError as error:
        for each in converted:
            module.left(each.use.node, error.reason)
        return
    for each in converted:
        module.out.edits += [*each.edits, module.edit(each.use.node, _NEW)]
        module.changed(each.use.node, f"{module.source(each.use.node)} -> {_NEW}")
        if each.call.func is each.use.node:
            module.out.edits += follow_operator(module, each.call, each.kind)
        else:
            module.check(
                each.use.node,
                "what follows in the pipeline gets text, generated and usage, and the item "
                "under context",
            )


def _uses(module: Module, name: str) -> list[Use]:
    found: list[Use] = []
    skip: set[int] = set()
    for node in module.nodes:
        if id(node) in skip or not isinstance(node, (cst.Name, cst.Attribute)):
            continue
        for path in module.imported_as(node):
            if path.startswith("sage.") and path.endswith(f".{name}"):
                found.append(Use(node))
                inner: cst.BaseExpression = node
                while isinstance(inner, cst.Attribute):
                    inner = inner.value
                    skip.add(id(inner))
                break
    return found


def _convert(
    module: Module, use: Use, kind: Kind, settings: Settings, survey: Survey, sections: set[int]
) -> _Converted:
    parent = module.parent(use.node)
    if isinstance(parent, cst.Call) and parent.func is use.node:
        call, arguments = parent, list(parent.args)
    else:
        mapped = map_arguments(module, use.node)
        if mapped is None:
            raise NotUnderstoodError("used in a way that is not followed")
        call, arguments = mapped
        arguments = [
            each
            for each in arguments
            if each.keyword is None or each.keyword.value != "parallelism"
        ]
    if (
        len(arguments) != 1
        or arguments[0].star
        or (arguments[0].keyword is not None and arguments[0].keyword.value != "config")
    ):
        raise NotUnderstoodError("it takes more than one configuration dict")
    value = arguments[0].value
    prefix: list[Edit] = []
    if arguments[0].keyword is not None:
        start = module.span(arguments[0])[0]
        prefix = [Edit(start, module.span(value)[0], "")]
    name = section_read(module, value)
    if name is not None:
        section = str(name.evaluated_value)
        moves = survey.section_moves(section)
        if moves is None:
            raise NotUnderstoodError(
                f"whether generator.{section} is on this machine stands in no file that was given"
            )
        if not moves:
            raise NotUnderstoodError(
                f"it reads generator.{section}, which stays in {survey.kept[section]}"
            )
        sections.add(id(name))
        return _Converted(use, call, kind, [*prefix, rename_section(module, name)])
    if not isinstance(value, cst.Dict):
        raise NotUnderstoodError("its configuration is not written out here")
    return _Converted(
        use, call, kind, [*prefix, *convert_dict(module, value, kind, settings, survey)]
    )


def _imports(module: Module, names: set[str], gone: set[str]) -> list[Edit]:
    """The edits that import the new name.

    :param names: old names of which a use was converted.
    :param gone: those that nothing needs any more; their imports go.
    """
    statements = [
        statement
        for statement in module.every(cst.ImportFrom)
        if not isinstance(statement.names, cst.ImportStar)
        and dotted(statement.module).startswith("sage.")
        and any(dotted(alias.name) in names for alias in statement.names)
    ]
    taken = any(
        not isinstance(each, ImportAssignment)
        for scope in module.scopes()
        if isinstance(scope, GlobalScope)
        for each in scope.assignments[_NEW]
    )
    if taken:
        raise NotUnderstoodError(f"{_NEW} is the name of something else")
    edits: list[Edit] = []
    for statement in statements:
        assert not isinstance(statement.names, cst.ImportStar)
        going = [alias for alias in statement.names if dotted(alias.name) in gone]
        module.changed(statement, f"import of {_NEW}")
        if len(going) == len(statement.names):
            edits.append(module.edit(statement, _IMPORT))
            continue
        if len(going) == 1:
            edits.append(removed_name(module, statement, going[0]))
        elif going:
            edits.append(_without(module, statement, going))
        edits.append(line_after(module, statement, _IMPORT))
    if not statements:
        edits.append(line_after(module, _first_import(module), _IMPORT))
    return edits


def _without(module: Module, statement: cst.ImportFrom, going: Sequence[cst.ImportAlias]) -> Edit:
    """The edit that takes several names out of an import."""
    assert not isinstance(statement.names, cst.ImportStar)
    start = module.span(statement.names[0])[0]
    end = module.span(statement.names[-1])[1]
    if "#" in module.text[start:end]:
        raise NotUnderstoodError("a comment stands between imported names")
    kept = [module.source(alias) for alias in statement.names if alias not in going]
    own_lines = "\n" in module.text[start:end]
    glue = f",{module.lines.newline}{module.lines.indent(start)}" if own_lines else ", "
    return Edit(start, end, glue.join(kept))


def _first_import(module: Module) -> cst.CSTNode:
    for statement in module.every(cst.Import):
        if any(dotted(alias.name).startswith("sage.") for alias in statement.names):
            return statement
    for each in module.every(cst.ImportFrom):
        if dotted(each.module).startswith("sage"):
            return each
    raise NotUnderstoodError("it is imported in a way that is not followed")
