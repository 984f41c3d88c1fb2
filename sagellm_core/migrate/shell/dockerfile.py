"""Dockerfiles: the shell commands of ``RUN``, ``CMD`` and ``ENTRYPOINT``."""

from __future__ import annotations

import re

from sagellm_core.migrate.edit import Edit
from sagellm_core.migrate.finding import Finding, Rewrite
from sagellm_core.migrate.survey import Survey

from .commands import rewrite_shell

_INSTRUCTION = re.compile(
    r"^[ \t]*(?:RUN|CMD|ENTRYPOINT)[ \t]+(?:--\S+[ \t]+)*", re.IGNORECASE | re.MULTILINE
)
_FROM = re.compile(r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(\S*\bvllm\S*)", re.IGNORECASE | re.MULTILINE)
_CONTINUED = re.compile(r"\\[ \t]*\r?$")


def rewrite_dockerfile(text: str, survey: Survey) -> Rewrite:
    """Rewrite the commands in shell form; those in JSON form are left."""
    out = Rewrite(
        left=[
            Finding(text.count("\n", 0, match.start(1)) + 1, f"the image {match[1]} is vLLM's")
            for match in _FROM.finditer(text)
        ]
    )
    for match in _INSTRUCTION.finditer(text):
        start = match.end()
        end = _end_of_instruction(text, start)
        body = text[start:end]
        line = text.count("\n", 0, start)
        if body.lstrip().startswith("["):
            if re.search(r'"(?:--vllm|--(?:engine|prefer)=vllm|vllm)"', body):
                out.left.append(Finding(line + 1, "a command in JSON form"))
            continue
        found = rewrite_shell(body, survey)
        out.edits += [Edit(each.start + start, each.end + start, each.new) for each in found.edits]
        for ours, theirs in (
            (out.changes, found.changes),
            (out.left, found.left),
            (out.check, found.check),
        ):
            ours += [Finding(each.line + line, each.text) for each in theirs]
    return out


def _end_of_instruction(text: str, start: int) -> int:
    position = start
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        line = text[position:end]
        if not _CONTINUED.search(line) and not (position > start and line.lstrip()[:1] == "#"):
            return end
        position = end + 1
    return len(text)
