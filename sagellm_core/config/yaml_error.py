"""What PyYAML says, so that it helps."""

from __future__ import annotations

from pathlib import Path

import yaml

from .problem import Place, Problem


def problem_of(path: Path, text: str, error: yaml.YAMLError) -> Problem:
    """The problem that ``error`` found in ``text``."""
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML."
        return Problem(path, place, message, "Remove it; it is probably invisible.")
    assert isinstance(error, yaml.MarkedYAMLError)
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(path, None, f"the YAML is not valid: {error}.", "Correct it.")
    place = Place(mark.line + 1, mark.column + 1)
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    tab = line[: mark.column + 1].find("\t")
    if tab >= 0 and not line[:tab].strip():
        message = "a tab stands where YAML allows spaces only."
        return Problem(path, Place(mark.line + 1, tab + 1), message, "Indent with spaces.")
    what = error.problem or error.context or "not valid"
    if error.context and error.context_mark and error.problem:
        what += f" ({error.context}, which begins in line {error.context_mark.line + 1})"
    hint = "Correct that line, or the one before it."
    if "could not determine a constructor" in what:
        hint = "Only plain YAML is read here: remove the tag, or quote the value."
    elif "cannot start any token" in what or "mapping values are not allowed" in what:
        hint = "Put text with special characters in quotes, and indent with spaces only."
    return Problem(path, place, f"the YAML is not valid: {what}.", hint)
