"""Makefiles: the shell commands of recipes."""

from __future__ import annotations

from sagellm_core.migrate.edit import Edit, Lines
from sagellm_core.migrate.finding import Finding, Rewrite
from sagellm_core.migrate.survey import Survey

from .commands import rewrite_shell


def rewrite_makefile(text: str, survey: Survey) -> Rewrite:
    """Rewrite the recipe lines, those that begin with a tab; a ``\\`` continues one."""
    out = Rewrite()
    lines = Lines(text)
    position = 0
    while position < len(text):
        end = lines.end(position)
        while text[position:end].rstrip("\r\n").endswith("\\") and end < len(text):
            end = lines.end(end)
        if text[position] == "\t":
            start = position + 1
            while text[start : start + 1] in ("@", "-", "+", " ") and start < end:
                start += 1
            # Make's $(NAME) and $$ read as substitutions of the shell: words without a value.
            found = rewrite_shell(text[start:end], survey)
            before = lines.number(start) - 1
            out.edits += [Edit(e.start + start, e.end + start, e.new) for e in found.edits]
            for ours, theirs in ((out.changes, found.changes), (out.left, found.left)):
                ours += [Finding(each.line + before, each.text) for each in theirs]
        position = end
    return out
