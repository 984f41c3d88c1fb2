"""The old forms of a Python file."""

from __future__ import annotations

from sagellm_core.migrate.edit import apply_edits
from sagellm_core.migrate.finding import Finding, NotUnderstoodError, Rewrite
from sagellm_core.migrate.settings import Settings
from sagellm_core.migrate.survey import Survey

from .clients import rewrite_clients
from .leftovers import list_leftovers
from .literals import find_literals, rewrite_literals, survey_with
from .module import Module, refuse_unparsable
from .operators import OPERATORS, rewrite_operator
from .registry import list_strings, rewrite_registry
from .sections import list_section_reads
from .vllm_scripts import needs_vllm, rewrite_vllm_script


def rewrite_python(text: str, settings: Settings, survey: Survey) -> Rewrite:
    """Rewrite ``text``, or say why not. What is returned makes a file that parses."""
    try:
        module = Module(text)
        sections: set[int] = set()
        literals = find_literals(module, settings, survey)
        survey = survey_with(survey, literals)
        for operator in OPERATORS:
            rewrite_operator(module, operator, settings, survey, sections)
        rewrite_registry(module)
        rewrite_clients(module, settings, survey, sections)
        rewrite_literals(module, literals, sections)
        list_section_reads(module, sections)
        list_strings(module)
        line = needs_vllm(module)
        if line:
            module.out.left.append(
                Finding(line, "uses more of vLLM than sagellm_core.compat.vllm has")
            )
        elif settings.vllm_scripts:
            rewrite_vllm_script(module)
        list_leftovers(module)
        if module.out.edits:
            _check_outcome(text, module)
    except NotUnderstoodError as error:
        return Rewrite(left=[Finding(error.line or 1, error.reason)])
    return module.out


def survey_python(text: str, place: str, settings: Settings, survey: Survey) -> None:
    """Note whether ``text`` still imports vLLM after it was rewritten."""
    try:
        module = Module(text)
    except NotUnderstoodError:
        return
    line = needs_vllm(module, everything=not settings.vllm_scripts)
    if line:
        survey.vllm_users.append(f"{place}:{line}")


def _check_outcome(text: str, module: Module) -> None:
    # The last defence: a defect here must cost a listing, never a file.
    try:
        refuse_unparsable(apply_edits(text, module.out.edits))
    except (NotUnderstoodError, ValueError) as error:
        raise NotUnderstoodError(f"it cannot be rewritten safely: {error}") from error
