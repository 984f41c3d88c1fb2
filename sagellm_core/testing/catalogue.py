"""Every test of the suite with what it asks for, as Markdown, from the tests themselves.

``python -m sagellm_core.testing.catalogue`` prints it; ``docs/vendors/conformance.md`` has it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from . import suite
from .groups import GROUPS, VERDICTS
from .marks import GROUP


def classes() -> Iterator[type]:
    """The suite's classes, in the order of the groups."""
    found = [value for value in vars(suite).values() if hasattr(value, GROUP)]
    order = (*GROUPS, VERDICTS)
    yield from sorted(found, key=lambda kind: order.index(getattr(kind, GROUP)))


def tests(kind: type) -> dict[str, str]:
    """Names of a class's tests, and the first paragraphs of their docstrings."""
    found = {}
    for name, value in vars(kind).items():
        if name.startswith("test_"):
            found[name] = _first(value)
    return found


def catalogue() -> str:
    """A section for each group, and in it a table for each class."""
    lines: list[str] = []
    group = ""
    for kind in classes():
        if getattr(kind, GROUP) != group:
            group = getattr(kind, GROUP)
            lines += [f"### {group}", ""]
        lines += [f"`{kind.__name__}`: {_first(kind)}", ""]
        lines += ["| test | asks for |", "|---|---|"]
        lines += [f"| `{name}` | {asked} |" for name, asked in tests(kind).items()]
        lines.append("")
    return "\n".join(lines)


def _first(thing: object) -> str:
    """The first paragraph of a docstring, in Markdown."""
    text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    return re.sub(r":\w+:`~?\.?([^`]*)`", r"`\1`", text).replace("``", "`")


if __name__ == "__main__":
    print(catalogue(), end="")
