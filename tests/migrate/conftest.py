"""The corpus: one file per case, with what goes in and everything that comes out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CORPUS = Path(__file__).parent / "corpus"
_HEAD = re.compile(r"^==== (\w+) ?(.*)\n", re.MULTILINE)


@dataclass(slots=True)
class Case:
    """Files before, files after, and the lines of the listing."""

    options: list[str]
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)


def read_case(path: Path) -> Case:
    text = path.read_text(encoding="utf-8")
    heads = list(_HEAD.finditer(text))
    case = Case([])
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        body = text[head.end() : following.start() if following else len(text)]
        match head[1]:
            case "options":
                case.options = head[2].split()
            case "before":
                case.before[head[2]] = case.after[head[2]] = body
            case "after":
                assert body != case.before[head[2]], f"{path.name}: {head[2]} does not change"
                case.after[head[2]] = body
            case "left" | "check":
                getattr(case, head[1]).extend(body.splitlines())
            case other:
                raise AssertionError(f"{path.name}: unknown heading {other}")
    return case


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        paths = sorted(CORPUS.glob("*.txt"))
        metafunc.parametrize(
            "case", [read_case(path) for path in paths], ids=[path.stem for path in paths]
        )
