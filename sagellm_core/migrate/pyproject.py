"""``pyproject.toml``: requirements on vllm in the lists that PEP 621 and PEP 735 define."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from .edit import Edit, Lines
from .finding import Finding, NotUnderstoodError, Rewrite
from .requirements import is_vllm, replace_requirement
from .survey import Survey

_STRING = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<quote>\"\"\"|'''|"|')(?P<body>.*?)(?P=quote)""", re.S
)


def rewrite_pyproject(text: str, survey: Survey) -> Rewrite:
    """Rewrite requirements that are certain; list the others."""
    try:
        data = tomllib.loads(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        raise NotUnderstoodError(
            f"not valid TOML: {error}", int(found[1]) if found else 1
        ) from error
    out = Rewrite()
    lines = Lines(text)
    wanted = [item for item in _requirements(data) if is_vllm(item)]
    strings = [
        match
        for match in _STRING.finditer(text)
        if match["body"] is not None and is_vllm(match["body"])
    ]
    poetry = data.get("tool", {}).get("poetry", {}) if isinstance(data.get("tool"), dict) else {}
    for match in re.finditer(r"(?mi)^[ \t]*[\"']?vllm[\"']?[ \t]*=", text):
        if poetry:
            out.left.append(Finding(lines.number(match.start()), "vllm in a table of Poetry's"))
    for match in strings:
        body, line = match["body"], lines.number(match.start())
        if body not in wanted:
            continue
        # A string that stands elsewhere too cannot be told from the requirement.
        if sum(other["body"] == body for other in strings) != wanted.count(body):
            out.left.append(Finding(line, f"{body} stands in other places than requirements too"))
            continue
        if survey.vllm_users:
            out.left.append(Finding(line, f"vllm stays: {survey.vllm_users[0]} still imports it"))
            continue
        new = replace_requirement(body)
        if new is None or "\\" in body:
            out.left.append(Finding(line, f"{body} is not a plain requirement"))
            continue
        start = match.start("body")
        out.edits.append(Edit(start, start + len(body), new))
        out.changes.append(Finding(line, f"{body} -> {new}"))
    return out


def _requirements(data: Mapping[str, Any]) -> Iterator[str]:
    project = data.get("project", {})
    lists: list[Any] = []
    if isinstance(project, Mapping):
        lists.append(project.get("dependencies"))
        optional = project.get("optional-dependencies", {})
        lists += optional.values() if isinstance(optional, Mapping) else ()
    groups = data.get("dependency-groups", {})
    lists += groups.values() if isinstance(groups, Mapping) else ()
    for items in lists:
        if isinstance(items, list):
            yield from (item for item in items if isinstance(item, str))
