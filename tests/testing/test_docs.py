"""The page for vendors has every test, and every field and flag; the table of support is made."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from sagellm_core import __version__
from sagellm_core.cli.conformance import command
from sagellm_core.testing import Declaration, support
from sagellm_core.testing.catalogue import catalogue, classes
from sagellm_core.testing.catalogue import tests as checks
from sagellm_core.testing.groups import GROUPS
from sagellm_core.testing.plugin_lookup import find_plugin
from sagellm_core.testing.reference.tolerance import tolerance_of
from sagellm_core.testing.running import run_suite
from sagellm_core.testing.tiny.family import FAMILIES

DOCS = Path(__file__).parents[2] / "docs" / "vendors"
PAGE = (DOCS / "conformance.md").read_text(encoding="utf-8")
RESULTS = DOCS / "results"


def test_every_test_stands_on_the_page_with_what_it_asks_for() -> None:
    assert PAGE.endswith(f"python -m sagellm_core.testing.catalogue -->\n\n{catalogue()}")
    for kind in classes():
        assert kind.__doc__
        assert all(checks(kind).values())


def test_every_field_and_every_flag_stands_on_the_page() -> None:
    for field in dataclasses.fields(Declaration):
        assert f"| `{field.name}` | " in PAGE
    flags = [option for option in command.params if option.param_type_name == "option"]
    for flag in flags:
        assert any(f"`{name}" in PAGE for name in flag.opts) or flag.name == "debug"
    for name in FAMILIES:
        assert f"`{name}`" in PAGE


def test_the_tolerances_on_the_page_are_those_of_the_code() -> None:
    for words, limit in (
        ("float32, float64", tolerance_of("float32", "none")),
        ("float16", tolerance_of("float16", "none")),
        ("bfloat16", tolerance_of("bfloat16", "none")),
        ("weights of 8 bits", tolerance_of("float32", "int8")),
        ("fewer bits, other types", tolerance_of("float32", "int4")),
    ):
        row = f"| {words} | {limit.regret:g} | {limit.logprob:g} | {limit.cosine:g} |"
        assert row in PAGE


def test_the_groups_of_the_command_are_those_of_the_suite() -> None:
    (flag,) = [option for option in command.params if option.name == "groups"]
    assert tuple(flag.type.choices) == GROUPS  # type: ignore[attr-defined]


def test_the_table_of_support_is_made_of_the_results() -> None:
    written = (DOCS / "support.md").read_text(encoding="utf-8")
    assert written == support.support_page(support.read_reports(RESULTS)), (
        "run: python -m sagellm_core.testing.support docs/vendors/results > docs/vendors/support.md"
    )


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_results_are_of_this_suite_and_this_core(path: Path) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["plugin"] == path.stem
    assert data["core"] == __version__
    assert data["groups"] == list(GROUPS)
    ran = {each["id"].partition("[")[0] for each in data["results"]}
    known = {f"{kind.__name__}::{name}" for kind in classes() for name in checks(kind)}
    assert known <= ran, "run the suite again: sagellm conformance NAME --declaration FILE"


def test_the_mocks_results_are_what_a_run_comes_to(monkeypatch: Any) -> None:
    monkeypatch.delenv("SAGELLM_CONFORMANCE_CORES", raising=False)
    declaration = Path(__file__).parents[2] / "plugins/sagellm-mock/tests/test_conformance.py"
    report = run_suite(find_plugin("mock"), file=declaration)
    kept = json.loads((RESULTS / "mock.json").read_text(encoding="utf-8"))
    outcomes = {each["id"]: each["outcome"] for each in kept["results"]}
    assert {each.id: str(each.outcome) for each in report.results} == outcomes
