"""The contract page by page says what the contract is: every hook, class, field and member."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagellm_core import contract
from sagellm_core.contract import hookspecs

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "vendors" / "contract"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
ALL = "\n".join(PAGES.values())
HOOKS = [name for name in vars(hookspecs) if name.startswith("sagellm_")]
EXPORTED = {
    name: getattr(contract, name)
    for name in contract.__all__
    if inspect.isclass(getattr(contract, name))
    and not issubclass(getattr(contract, name), Exception)
}
BLOCKS = [
    pytest.param(block, id=f"{name}-{number}")
    for name, page in PAGES.items()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
]


def section(name: str) -> str:
    found = re.findall(rf"^## `{name}`\n(.*?)(?=^## |\Z)", ALL, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{name} has {len(found)} sections in docs/vendors/contract"
    return str(found[0])


def rows(text: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [
        [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines[2:]
    ]


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_a_page_with_its_exact_signature_and_its_stage(hook: str) -> None:
    page = PAGES[hook.removeprefix("sagellm_")]
    assert page.startswith(f"# {hook}\n")
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    assert f"```python\ndef {hook}{signature}\n```" in page
    assert f"Stage {'S1' if hook in hookspecs.PROBE_HOOKS else 'S2'}" in page
    assert "\n@hookimpl\n" in page, "it has no example"
    assert "\n## What the suite checks\n" in page


@pytest.mark.parametrize("hook", HOOKS)
def test_each_argument_of_a_hook_is_explained(hook: str) -> None:
    page = PAGES[hook.removeprefix("sagellm_")].partition("\n## ")[0]
    for argument in inspect.signature(getattr(hookspecs, hook)).parameters:
        assert re.search(rf"^(?:\| )?`{argument}` ", page, re.MULTILINE), argument


def fields_of(cls: Any) -> Iterator[list[str]]:
    for field in dataclasses.fields(cls):
        default = ""
        if isinstance(field.default_factory, type):
            default = f"`{field.default_factory.__name__}()`"
        elif dataclasses.is_dataclass(field.default):
            default = f"`{type(field.default).__name__}()`"
        elif field.default is not dataclasses.MISSING:
            default = f"`{field.default!r}`".replace("'", '"')
        yield [f"`{field.name}`", f"`{field.type}`", default]
    for name, member in vars(cls).items():
        if isinstance(member, property):
            assert member.fget is not None
            yield [f"`.{name}`", f"`{member.fget.__annotations__['return']}`", ""]


def members_of(protocol: Any) -> Iterator[list[str]]:
    for name, member in vars(protocol).items():
        if isinstance(member, property):
            assert member.fget is not None
            yield [f"`{name}: {member.fget.__annotations__['return']}`"]
        elif inspect.isfunction(member) and not name.startswith("_"):
            signature = inspect.signature(member)
            bare = signature.replace(parameters=list(signature.parameters.values())[1:])
            yield [f"`{name}{bare}`".replace("'", "")]


@pytest.mark.parametrize("name", EXPORTED)
def test_each_class_is_documented_as_it_is(name: str) -> None:
    cls = EXPORTED[name]
    found = rows(section(name))
    if issubclass(cls, enum.Enum):
        expected = [[f"`{member.name}`", f"`{member.value}`"] for member in cls]
    elif dataclasses.is_dataclass(cls):
        expected = list(fields_of(cls))
        # A plain method of a dataclass implements a protocol, whose page has it.
    else:
        expected = list(members_of(cls))
    assert [row[:-1] for row in found] == expected
    assert all(row[-1] for row in found), "something has no explanation"


@pytest.mark.parametrize("name", ["EventSink", "ProgressCallback"])
def test_each_callable_is_documented(name: str) -> None:
    assert section(name).lstrip().startswith("`Callable[[")


def test_the_pages_document_nothing_that_does_not_exist() -> None:
    named = set(re.findall(r"^## `(\w+)`$", ALL, re.MULTILINE))
    assert named == {*EXPORTED, "EventSink", "ProgressCallback"}
    for error in set(re.findall(r"`(\w+Error)`", ALL)):
        assert hasattr(contract, error), error


@pytest.mark.parametrize("source", BLOCKS)
def test_every_example_runs(source: str) -> None:
    if re.fullmatch(r"def sagellm_\w+\(.*\) -> .*\n", source):
        return  # a signature, held to the contract above
    exec(compile(source, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("hook", HOOKS)
def test_the_lifecycle_has_each_hook_in_its_stage(hook: str) -> None:
    page = (DOCS / "vendors" / "lifecycle.md").read_text(encoding="utf-8")
    drawn = re.search(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert drawn is not None
    stage = "S1" if hook in hookspecs.PROBE_HOOKS else "S2"
    rows = re.split(r"^ (S\d) ", drawn[1], flags=re.MULTILINE)
    assert hook in dict(zip(rows[1::2], rows[2::2], strict=True))[stage]
    picture = (DOCS / "vendors" / "lifecycle.svg").read_text(encoding="utf-8")
    assert hook.removeprefix("sagellm") in picture


def test_the_tests_that_are_named_are_there() -> None:
    from sagellm_core.testing import suite

    named = set(re.findall(r"`(Test\w+)::(test_\w+)`", ALL))
    assert len(named) > 50
    for group, test in named:
        assert hasattr(getattr(suite, group), test), f"{group}::{test}"


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "contract.md").read_text(encoding="utf-8")
    for name in PAGES:
        assert f"(vendors/contract/{name}.md)" in index, name
