"""Requirements files, and what a requirement on vLLM becomes."""

from __future__ import annotations

import re

from packaging.requirements import InvalidRequirement, Requirement

from .edit import Edit, Lines
from .finding import Finding, Rewrite
from .survey import Survey

NEW = "sagellm-backend"

_NAMED = re.compile(r"vllm(?=$|[\s\[<>=!~;@(#])", re.IGNORECASE)
_COMMENT = re.compile(r"(?:^|\s)#.*$")


def is_vllm(requirement: str) -> bool:
    """Whether the text is a requirement on ``vllm`` itself, and not on ``vllm-something``."""
    return bool(_NAMED.match(requirement.strip()))


def replace_requirement(requirement: str) -> str | None:
    """What takes its place; the environment marker stays, version and extras are vLLM's.

    :returns: ``None`` where the requirement says where to get vLLM, or cannot be parsed.
    """
    try:
        parsed = Requirement(requirement.strip())
    except InvalidRequirement:
        return None
    if parsed.url:
        return None
    if not parsed.marker:
        return NEW
    # As it was written, not as the parser would write it.
    return f"{NEW};{requirement.partition(';')[2]}".rstrip()


def rewrite_requirements(text: str, survey: Survey, *, constraints: bool = False) -> Rewrite:
    """Rewrite the lines that require vllm.

    :param constraints: whether the file holds constraints, which install nothing by themselves.
    """
    out = Rewrite()
    lines = Lines(text)
    position = 0
    while position < len(text):
        end = lines.end(position)
        while text[position:end].rstrip("\r\n").endswith("\\") and end < len(text):
            end = lines.end(end)
        _rewrite_line(text, position, end, lines, survey, constraints, out)
        position = end
    return out


def _rewrite_line(
    text: str,
    start: int,
    end: int,
    lines: Lines,
    survey: Survey,
    constraints: bool,
    out: Rewrite,
) -> None:
    body = _COMMENT.sub("", text[start:end].rstrip("\r\n"))
    begin = start + len(body) - len(body.lstrip(" \t\ufeff"))
    requirement = body.strip(" \t\ufeff")
    line = lines.number(start)
    if re.match(r"isagellm\b", requirement, re.IGNORECASE):
        out.left.append(
            Finding(line, f"{requirement} owns sagellm's import names; remove it to use sagellm")
        )
    if re.search(r"[#&]egg=vllm(?:$|[&\[\s])|/vllm(?:\.git)?(?:[@#\s]|$)", text[start:end]) and (
        not requirement.startswith(("#", "-r", "-c")) and "://" in requirement
    ):
        out.left.append(Finding(line, "installs vLLM from a place of its own"))
    if not is_vllm(requirement):
        return
    if survey.vllm_users:
        out.left.append(Finding(line, f"vllm stays: {survey.vllm_users[0]} still imports it"))
        return
    if constraints:
        out.left.append(
            Finding(line, f"{requirement} constrains a package that is gone; remove it")
        )
        return
    if "--hash" in requirement:
        out.left.append(Finding(line, "vllm is pinned by hashes, which sagellm-backend has not"))
        return
    new = replace_requirement(requirement) if "\\" not in requirement else None
    if new is None:
        out.left.append(Finding(line, f"{requirement.splitlines()[0]} is not a plain requirement"))
        return
    out.edits.append(Edit(begin, begin + len(requirement), new))
    out.changes.append(Finding(line, f"{requirement} -> {new}"))
