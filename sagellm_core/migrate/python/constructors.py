"""Arguments of the old operators, as arguments of the new ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst

from sagellm_core.config.checking import find_faults
from sagellm_core.migrate.edit import Edit
from sagellm_core.migrate.finding import NotUnderstoodError

from .module import Module


@dataclass(frozen=True, slots=True)
class Signature:
    """What an old operator's constructor took."""

    #: Names in their order.
    names: tuple[str, ...]
    #: Those that the new operator has no use for, and how it does without.
    dropped: Mapping[str, str]


GENERATOR = Signature(("service_name", "timeout", "default_options"), {})
EMBEDDING = Signature(
    ("service_name", "timeout", "normalize", "default_options"),
    {"timeout": "embedding has no time limit", "default_options": "its keys were vLLM's"},
)


def rewrite_arguments(
    module: Module,
    call: cst.Call,
    arguments: Sequence[cst.Arg],
    signature: Signature,
    *,
    model: str,
    backend: str,
    unknown_model: str,
) -> list[Edit]:
    """The edits that turn old arguments into new ones.

    :param arguments: those of the operator: all of the call's, or those after the operator's
        name in ``.map(VLLMGenerator, ...)``.
    :param unknown_model: what to say where ``model`` is empty.
    :raises NotUnderstoodError: no model is known, an argument is unknown, starred, or would be
        refused.
    """
    line = module.line(call)
    named: dict[str, cst.Arg] = {}
    keep: list[cst.Arg] = []
    for position, argument in enumerate(arguments):
        if argument.star:
            raise NotUnderstoodError("its arguments are unpacked from a variable", line)
        if argument.keyword is None:
            if position >= len(signature.names):
                raise NotUnderstoodError("it has too many arguments", line)
            name = signature.names[position]
        else:
            name = argument.keyword.value
        if name in named:
            raise NotUnderstoodError(f"{name} stands twice", line)
        if name == "parallelism" and len(arguments) < len(call.args):
            keep.append(argument)  # of .map itself
            continue
        if name not in signature.names:
            raise NotUnderstoodError(f"the argument {name} is unknown", line)
        if name in signature.dropped:
            raise NotUnderstoodError(
                f"{name} has no counterpart ({signature.dropped[name]}); remove it, then "
                "migrate again",
                line,
            )
        named[name] = argument
    if not model:
        raise NotUnderstoodError(unknown_model, line)
    _check_values(module, named, line)
    return _edits(module, call, arguments, named, model, backend)


def _check_values(module: Module, named: Mapping[str, cst.Arg], line: int) -> None:
    values: dict[str, Any] = {}
    for name in ("timeout", "default_options"):
        if name in named:
            try:
                values[name] = module.literal(named[name].value)
            except ValueError:
                module.check(named[name], f"{name} is only known when the program runs")
    faults = find_faults(values)
    if faults:
        raise NotUnderstoodError(f"SageLLMGenerator would refuse it: {faults[0].message}", line)


def _edits(
    module: Module,
    call: cst.Call,
    arguments: Sequence[cst.Arg],
    named: Mapping[str, cst.Arg],
    model: str,
    backend: str,
) -> list[Edit]:
    new = [
        f"backend_type={json.dumps(backend, ensure_ascii=False)}",
        f"model_path={json.dumps(model, ensure_ascii=False)}",
    ]
    edits: list[Edit] = []
    # What was positional gets its name: the new operator has another order.
    for name, argument in named.items():
        if argument.keyword is None and name != "service_name":
            start = module.span(argument)[0]
            edits.append(Edit(start, start, f"{name}="))
    service = named.get("service_name")
    if service is not None:
        start, end = module.span(service)
        own_line = not module.text[module.lines.start(start) : start].strip()
        glue = f",{module.lines.newline}{module.lines.indent(start)}" if own_line else ", "
        edits.append(Edit(start, end, glue.join(new)))
    elif arguments:
        start = module.span(arguments[0])[0]
        own_line = not module.text[module.lines.start(start) : start].strip()
        glue = f",{module.lines.newline}{module.lines.indent(start)}" if own_line else ", "
        edits.append(Edit(start, start, "".join(item + glue for item in new)))
    elif call.args:  # .map(VLLMGenerator)
        end = module.span(call.args[-1])[1]
        edits.append(Edit(end, end, ", " + ", ".join(new)))
    else:
        end = module.span(call)[1] - 1
        edits.append(Edit(end, end, ", ".join(new)))
    return edits
