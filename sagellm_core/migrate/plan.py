"""What migrating a set of files would do, and doing it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sagellm_core.contract import ConfigurationError

from .edit import apply_edits
from .finding import Finding, NotUnderstoodError, Rewrite
from .pyproject import rewrite_pyproject
from .requirements import rewrite_requirements
from .settings import Settings
from .shell import rewrite_dockerfile, rewrite_makefile, rewrite_shell
from .source import MOST_BYTES, Source, decode, replace_file
from .survey import Survey
from .walk import Found, Kind, find_files

#: A file without one of these has nothing to migrate, and is not parsed.
_TRACES = re.compile(rb"vllm|OpenAIGenerator|HFGenerator|isagellm", re.IGNORECASE)
#: In YAML, sections of other names count too.
_TRACES_IN_YAML = re.compile(rb"vllm|generator", re.IGNORECASE)
#: What every file has that imports vLLM itself, and few others have.
_IMPORT_OF_VLLM = re.compile(r"\b(?:import|from)\b(?:[^\r\n]|\\\r?\n)*?\bvllm\b")
#: Old names that are worth listing in files of a kind that is not rewritten.
_OLD_NAMES = re.compile(
    r"VLLMGenerator|VLLMEmbedding|vllm_registry|(?m:^\s*vllm\s*(?:[=<>~!].*)?$)"
)


@dataclass(frozen=True, slots=True)
class FilePlan:
    """What is to be done with one file."""

    path: Path
    before: str
    #: Equal to ``before`` where nothing changes.
    after: str
    changes: tuple[Finding, ...]
    left: tuple[Finding, ...]
    check: tuple[Finding, ...]
    old_data: bytes = b""
    new_data: bytes = b""

    @property
    def changed(self) -> bool:
        """Whether writing would change the file."""
        return self.old_data != self.new_data


def plan_migration(paths: Sequence[Path], settings: Settings) -> list[FilePlan]:
    """Read all files and decide; nothing is written.

    :returns: one plan for each file that changes or of which something is to be said.
    :raises ConfigurationError: a path is not there; ``libcst`` is needed and missing.
    """
    read: list[tuple[Found, Source | NotUnderstoodError]] = []
    for found in find_files(paths, settings.exclude):
        source = _read(found)
        if source is not None:
            read.append((found, source))
    survey = Survey()
    for found, source in read:
        if isinstance(source, Source):
            _survey(found, source, settings, survey)
    plans = [_plan(found, source, settings, survey) for found, source in read]
    return [plan for plan in plans if plan.changed or plan.left or plan.check]


def write(plan: FilePlan) -> None:
    """Write the file in one step.

    :raises OSError: it cannot be written, or was changed meanwhile.
    """
    if plan.changed:
        replace_file(plan.path, plan.old_data, plan.new_data)


def _read(found: Found) -> Source | NotUnderstoodError | None:
    traces = _TRACES_IN_YAML if found.kind is Kind.YAML else _TRACES
    try:
        if found.path.stat().st_size > MOST_BYTES:
            with found.path.open("rb") as file:
                start = file.read(MOST_BYTES)
            if not traces.search(start) or b"\0" in start:
                return None
            return NotUnderstoodError(f"more than {MOST_BYTES} bytes; it is not looked at", 1)
        data = found.path.read_bytes()
    except OSError as error:
        return NotUnderstoodError(f"cannot be read: {error.strerror}", 1)
    if not traces.search(data) and not traces.search(data.replace(b"\0", b"")):
        return None
    try:
        return decode(data, found.kind)
    except NotUnderstoodError as error:
        return error


def _survey(found: Found, source: Source, settings: Settings, survey: Survey) -> None:
    if found.kind is Kind.YAML:
        from .yaml_text.rewriting import survey_yaml

        survey_yaml(source.text, str(found.path), settings, survey)
    elif found.kind is Kind.PYTHON and _IMPORT_OF_VLLM.search(source.text):
        survey_python = _python().survey_python
        survey_python(source.text, str(found.path), settings, survey)


def _plan(
    found: Found, source: Source | NotUnderstoodError, settings: Settings, survey: Survey
) -> FilePlan:
    if isinstance(source, NotUnderstoodError):
        return _nothing(found, Finding(source.line or 1, source.reason))
    rewriter = _rewriter(found.kind)
    try:
        rewrite = rewriter(source.text, settings, survey)
        after = apply_edits(source.text, rewrite.edits)
        data = source.data if after == source.text else source.encode(after)
    except NotUnderstoodError as error:
        return _nothing(found, Finding(error.line or 1, error.reason))
    except ValueError as error:  # the last defence: edits that contradict each other
        return _nothing(found, Finding(1, f"it cannot be rewritten safely: {error}"))
    return FilePlan(
        found.path,
        source.text,
        after,
        _sorted(rewrite.changes),
        _sorted(rewrite.left),
        _sorted(rewrite.check),
        source.data,
        data,
    )


def _nothing(found: Found, reason: Finding) -> FilePlan:
    return FilePlan(found.path, "", "", (), (reason,), ())


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(dict.fromkeys(findings)))


def _rewriter(kind: Kind) -> Callable[[str, Settings, Survey], Rewrite]:
    if kind is Kind.PYTHON:
        rewriter: Callable[[str, Settings, Survey], Rewrite] = _python().rewrite_python
        return rewriter
    if kind is Kind.YAML:
        from .yaml_text import rewrite_yaml

        return rewrite_yaml
    return {
        Kind.SHELL: lambda text, _, survey: rewrite_shell(text, survey),
        Kind.MAKEFILE: lambda text, _, survey: rewrite_makefile(text, survey),
        Kind.DOCKERFILE: lambda text, _, survey: rewrite_dockerfile(text, survey),
        Kind.REQUIREMENTS: lambda text, _, survey: rewrite_requirements(text, survey),
        Kind.CONSTRAINTS: lambda text, _, survey: rewrite_requirements(
            text, survey, constraints=True
        ),
        Kind.PYPROJECT: lambda text, _, survey: rewrite_pyproject(text, survey),
        Kind.OTHER: lambda text, _settings, _survey: _list_only(text),
    }[kind]


def _list_only(text: str) -> Rewrite:
    return Rewrite(
        left=[
            Finding(
                text.count("\n", 0, match.start()) + 1,
                f"{match[0].strip()} stays here; files of this kind are not rewritten",
            )
            for match in _OLD_NAMES.finditer(text)
        ]
    )


def _python() -> ModuleType:
    try:
        import libcst  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "Rewriting Python files needs libcst.", hint='pip install "sagellm-core[migrate]"'
        ) from error
    from . import python

    return python
