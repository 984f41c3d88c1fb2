"""``{"generator": {"vllm": {...}}}`` written out in code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import libcst as cst

from sagellm_core.migrate.edit import Edit
from sagellm_core.migrate.finding import Finding, NotUnderstoodError
from sagellm_core.migrate.old_config import SECTIONS
from sagellm_core.migrate.settings import Settings
from sagellm_core.migrate.survey import Survey

from .dicts import convert_dict
from .module import Module, string_value
from .sections import rename_section


@dataclass(frozen=True, slots=True)
class Literal:
    """A section below ``generator``, and what makes it ``generator.sagellm``."""

    key: cst.SimpleString
    #: Empty where it stays.
    edits: tuple[Edit, ...]
    #: What is lost by the edits and could matter.
    losses: tuple[Finding, ...]
    #: Why it stays.
    reason: str

    @property
    def section(self) -> str:
        """The section's name."""
        return str(self.key.evaluated_value)


def find_literals(module: Module, settings: Settings, survey: Survey) -> list[Literal]:
    """The sections that the file writes out; nothing is added to the outcome."""
    found: list[Literal] = []
    for key, value, siblings in _sections(module):
        before = len(module.out.check)
        edits: list[Edit] = []
        reason = ""
        try:
            others = [name for name in siblings if name in (*SECTIONS, "sagellm")]
            if len(others) > 1:
                raise NotUnderstoodError(f"{' and '.join(others)} stand beside each other")
            if not isinstance(value, cst.Dict):
                raise NotUnderstoodError("its configuration is not written out here")
            section = str(key.evaluated_value)
            edits = [
                rename_section(module, key),
                *convert_dict(module, value, section, settings, survey),
            ]
        except NotUnderstoodError as error:
            reason = error.reason
        losses = tuple(module.out.check[before:])
        del module.out.check[before:]
        found.append(Literal(key, tuple(edits), losses, reason))
    return found


def survey_with(survey: Survey, literals: Sequence[Literal]) -> Survey:
    """What the file's own sections say goes before what other files say."""
    own = {each.section for each in literals}
    stay = {each.section for each in literals if each.reason}
    kept = {name: place for name, place in survey.kept.items() if name not in own}
    return replace(
        survey,
        converted=survey.converted | (own - stay),
        kept=kept | dict.fromkeys(stay, "this file"),
    )


def rewrite_literals(module: Module, literals: Sequence[Literal], sections: set[int]) -> None:
    """Rewrite what a generator of this file now reads as ``generator.sagellm``; list the rest.

    :param sections: ids of the strings with section names that were rewritten; added to.
    """
    read = {node.evaluated_value for node in module.every(cst.SimpleString) if id(node) in sections}
    for each in literals:
        if each.edits and each.section in read:
            module.out.edits += each.edits
            module.out.check += each.losses
            module.changed(each.key, f"generator.{each.section} -> generator.sagellm")
            sections.add(id(each.key))
        elif each.section == "vllm":
            why = each.reason or "no generator of this file reads it"
            module.left(each.key, f"generator.vllm in a dict: {why}")


def _sections(
    module: Module,
) -> Iterator[tuple[cst.SimpleString, cst.BaseExpression, list[str | None]]]:
    for element in module.every(cst.DictElement):
        if string_value(element.key) != "generator" or not isinstance(element.value, cst.Dict):
            continue
        inner = [each for each in element.value.elements if isinstance(each, cst.DictElement)]
        siblings = [string_value(each.key) for each in inner]
        for each in inner:
            if isinstance(each.key, cst.SimpleString) and each.key.evaluated_value in SECTIONS:
                yield each.key, each.value, siblings
