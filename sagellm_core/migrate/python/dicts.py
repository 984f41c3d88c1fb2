"""A generator's configuration as a dict in code."""

from __future__ import annotations

import json
from itertools import pairwise

import libcst as cst

from sagellm_core.migrate.edit import Edit
from sagellm_core.migrate.finding import NotUnderstoodError
from sagellm_core.migrate.old_config import UNKNOWN, Entry, convert
from sagellm_core.migrate.settings import Settings
from sagellm_core.migrate.survey import Survey

from .module import Module, string_value


def convert_dict(
    module: Module, node: cst.Dict, section: str, settings: Settings, survey: Survey
) -> list[Edit]:
    """The edits that make a written-out configuration one of ``SageLLMGenerator``.

    :param section: ``vllm``, ``openai`` or ``hf``: whose configuration it was.
    :raises NotUnderstoodError: it cannot be converted with certainty.
    """
    elements: list[tuple[cst.DictElement, str]] = []
    entries: list[Entry] = []
    for element in node.elements:
        key = string_value(element.key) if isinstance(element, cst.DictElement) else None
        if key is None or not isinstance(element, cst.DictElement):
            raise NotUnderstoodError("a key of its configuration is not written out")
        elements.append((element, key))
        try:
            entries.append(Entry(key, module.literal(element.value)))
        except ValueError:
            entries.append(Entry(key, UNKNOWN))
    if not elements:
        raise NotUnderstoodError("its configuration is empty")
    conversion = convert(
        entries,
        section=section,
        chosen_model=survey.model(settings.model),
        backend=settings.backend,
    )
    first = module.span(elements[0][0])[0]
    last = module.span(elements[-1][0])[1]
    if "#" in module.text[first:last] and any(
        step.what in ("drop", "option") for step in conversion.steps
    ):
        raise NotUnderstoodError("comments stand in its configuration")
    for loss in conversion.losses:
        module.check(node, loss)
    insert = [f'"backend_type": {json.dumps(settings.backend)}']
    if conversion.model_to_add:
        insert.append(f'"model_path": {json.dumps(conversion.model_to_add)}')
    edits: list[Edit] = []
    options: list[str] = []
    stay: list[tuple[int, int]] = []
    for (element, _), step in zip(elements, conversion.steps, strict=True):
        span = module.span(element)
        if step.what == "option":
            options.append(module.text[span[0] : span[1]])
        elif step.what != "drop":
            stay.append(span)
            if step.what == "rename":
                name = element.key
                assert isinstance(name, cst.SimpleString)
                edits.append(module.edit(name, f"{name.prefix}{name.quote}{step.key}{name.quote}"))
    own_line = not module.text[module.lines.start(first) : first].strip()
    glue = f",{module.lines.newline}{module.lines.indent(first)}" if own_line else ", "
    tail = f'"default_options": {{{", ".join(options)}}}' if options else ""
    if not stay:
        return [Edit(first, last, glue.join([*insert, tail] if tail else insert))]
    edits.append(Edit(first, stay[0][0], "".join(item + glue for item in insert)))
    spans = [module.span(element) for element, _ in elements]
    for before, after in pairwise(stay):
        if spans.index(after) - spans.index(before) > 1:
            previous = spans[spans.index(after) - 1]
            edits.append(Edit(before[1], previous[1], ""))
    edits.append(Edit(stay[-1][1], last, f"{glue}{tail}" if tail else ""))
    return edits
