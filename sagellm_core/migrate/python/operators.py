"""``VLLMGenerator`` and ``VLLMEmbedding``: all of a name in a file, or nothing of it."""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

from sagellm_core.migrate.edit import Edit
from sagellm_core.migrate.finding import NotUnderstoodError
from sagellm_core.migrate.settings import Settings
from sagellm_core.migrate.survey import Survey

from .constructors import EMBEDDING, GENERATOR, Signature, rewrite_arguments
from .imports import import_submodule, rename_imports
from .module import Module, dotted
from .names import (
    Renamed,
    Use,
    check_bindings,
    in_annotation,
    optional_bindings,
    rename_use,
    uses,
)
from .results import follow_operator
from .sections import rename_section, section_read

_PACKAGE = "sage.middleware.operators"
_PLACE = f"{_PACKAGE}.llm"


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator that went away, and its successor."""

    renamed: Renamed
    signature: Signature
    #: The option that names its model.
    flag: str


OPERATORS = (
    Operator(Renamed(_PLACE, "VLLMGenerator", "SageLLMGenerator", _PACKAGE), GENERATOR, "--model"),
    Operator(
        Renamed(_PLACE, "VLLMEmbedding", "SageLLMEmbedding", _PACKAGE),
        EMBEDDING,
        "--embedding-model",
    ),
)


def rewrite_operator(
    module: Module, operator: Operator, settings: Settings, survey: Survey, sections: set[int]
) -> None:
    """Rewrite every use of one operator, or list why not.

    :param sections: ids of the strings with section names that were rewritten; added to.
    """
    renamed = operator.renamed
    found = [use for place in renamed.modules for use in uses(module, f"{place}.{renamed.old}")]
    generator = operator.signature is GENERATOR
    model = survey.model(settings.model) if generator else settings.embedding_model
    edits: list[Edit] = []
    noted = len(module.out.check), len(module.out.changes)
    problems: list[NotUnderstoodError] = []
    constructions: list[cst.Call] = []
    renamed_sections: set[int] = set()
    try:
        check_bindings(module, renamed)
        edits += optional_bindings(module, renamed)
        import_edits = [
            *rename_imports(module, renamed),
            *import_submodule(module, renamed, found),
        ]
    except NotUnderstoodError as error:
        problems.append(error)
        import_edits = []
    for use in found:
        try:
            edits += rename_use(module, use, renamed)
            construction = _construction(module, use)
            if construction is None:
                continue
            call, arguments = construction
            edits += _configure(
                module, operator, call, arguments, model, settings, survey, renamed_sections
            )
            if call.func is use.node:
                constructions.append(call)
        except NotUnderstoodError as error:
            error.line = error.line or module.line(use.node)
            problems.append(error)
    if problems:
        del module.out.check[noted[0] :]
        del module.out.changes[noted[1] :]
        for problem in problems:
            at = next(
                (use.node for use in found if module.line(use.node) == problem.line),
                _first_on(module, problem.line),
            )
            module.left(at, f"{renamed.old}: {problem.reason}")
        return
    for call in constructions:
        module.changed(call, f"{renamed.old}(...) -> {renamed.new}(...)")
        if generator:
            edits += follow_operator(module, call, "vllm")
    sections |= renamed_sections
    module.out.edits += [*import_edits, *edits]


def _first_on(module: Module, line: int) -> cst.CSTNode:
    return next(
        (
            node
            for node in module.nodes
            if isinstance(node, (cst.Name, cst.SimpleString)) and module.line(node) == line
        ),
        module.nodes[0],
    )


def map_arguments(module: Module, node: cst.CSTNode) -> tuple[cst.Call, list[cst.Arg]] | None:
    """The ``.map(OPERATOR, ...)`` whose first argument ``node`` is, and the operator's own."""
    argument = module.parent(node)
    call = module.parent(argument)
    if (
        isinstance(argument, cst.Arg)
        and isinstance(call, cst.Call)
        and isinstance(call.func, cst.Attribute)
        and call.func.attr.value in ("map", "flatmap")
        and call.args[0] is argument
        and argument.keyword is None
        and not argument.star
    ):
        return call, list(call.args[1:])
    return None


def _construction(module: Module, use: Use) -> tuple[cst.Call, list[cst.Arg]] | None:
    """The call that constructs the operator; ``None`` where the use only names it.

    :raises NotUnderstoodError: the use is of no known kind.
    """
    node = use.node
    parent = module.parent(node)
    if isinstance(parent, cst.Call) and parent.func is node:
        return parent, list(parent.args)
    mapped = map_arguments(module, node)
    if mapped is not None:
        return mapped
    if in_annotation(module, node) or isinstance(
        parent, (cst.BooleanOperation, cst.UnaryOperation, cst.If, cst.IfExp)
    ):
        return None
    if isinstance(parent, (cst.Comparison, cst.ComparisonTarget)):
        return None
    outer = [parent, *module.ancestors(parent)]
    while outer and isinstance(outer[0], (cst.Element, cst.Tuple)):
        del outer[0]
    if isinstance(outer[0], cst.Arg):
        call = outer[1]
        if isinstance(call, cst.Call) and dotted(call.func) in (
            "isinstance",
            "issubclass",
            "cast",
            "typing.cast",
        ):
            return None
    if isinstance(parent, cst.Arg) and isinstance(module.parent(parent), cst.ClassDef):
        raise NotUnderstoodError("a class is derived from it", module.line(node))
    raise NotUnderstoodError("used in a way that is not followed", module.line(node))


def _configure(
    module: Module,
    operator: Operator,
    call: cst.Call,
    arguments: list[cst.Arg],
    model: str,
    settings: Settings,
    survey: Survey,
    renamed_sections: set[int],
) -> list[Edit]:
    if operator.signature is GENERATOR and arguments and arguments[0].keyword is None:
        name = section_read(module, arguments[0].value)
        if name is not None and all(
            each.keyword is not None and each.keyword.value == "parallelism"
            for each in arguments[1:]
        ):
            section = str(name.evaluated_value)
            if survey.section_moves(section) is False:
                raise NotUnderstoodError(
                    f"it reads generator.{section}, which stays in {survey.kept[section]}",
                    module.line(call),
                )
            renamed_sections.add(id(name))
            module.changed(name, f"generator.{section} -> generator.sagellm")
            if survey.section_moves(section) is None:
                module.check(name, "no file here has this section; migrate the one that is read")
            return [rename_section(module, name)]
    return rewrite_arguments(
        module,
        call,
        arguments,
        operator.signature,
        model=model,
        backend=settings.backend,
        unknown_model=_unknown_model(operator, survey),
    )


def _unknown_model(operator: Operator, survey: Survey) -> str:
    if operator.signature is GENERATOR and survey.models:
        named = ", ".join(sorted(survey.models))
        return f"the sections here name several models ({named}); choose with {operator.flag} ID"
    return f"which model did the service hold? Say it with {operator.flag} ID"
