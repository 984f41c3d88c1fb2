"""The report and its page say what the results say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sagellm_core.testing.groups import GROUPS
from sagellm_core.testing.page import page
from sagellm_core.testing.report import Report
from sagellm_core.testing.result import CheckResult, Outcome
from sagellm_core.testing.verdicts import NO_DEVICE

RESULTS = (
    CheckResult(id="TestStatic::test_import_is_quick", group="static", outcome=Outcome.PASSED),
    CheckResult(
        id="TestStatic::test_hooks_are_marked",
        group="static",
        outcome=Outcome.FAILED,
        reason="One | two\nlines.",
        seconds=0.1234,
    ),
    CheckResult(
        id="TestEngine::test_x", group="engine", outcome=Outcome.XFAILED, reason="as yet (no.)"
    ),
    CheckResult(
        id="TestEngine::test_y", group="engine", outcome=Outcome.SKIPPED, reason="Not here."
    ),
    CheckResult(
        id="TestCapabilities::test_has_a_passing_test[generate]",
        group="capabilities",
        outcome=Outcome.FAILED,
        reason="Nothing passed.",
    ),
    CheckResult(
        id="TestCapabilities::test_has_a_passing_test[embed]",
        group="capabilities",
        outcome=Outcome.PASSED,
    ),
)


def made(**changes: Any) -> Report:
    fields: dict[str, Any] = {
        "plugin": "npu",
        "dist": "sagellm-npu",
        "version": "1.2",
        "vendor": "Maker",
        "device_class": "accelerator",
        "contract": "1.0",
        "core": "0.1.0",
        "core_contract": "1.0",
        "device": {
            "id": "npu:0",
            "name": "NPU 9",
            "state": "usable",
            "reason": "",
            "driver": "25.1",
            "memory_total": 2**36,
        },
        "python": "3.11.7",
        "platform": "Linux x86_64",
        "groups": ("static", "engine"),
        "results": RESULTS,
        **changes,
    }
    return Report(**fields)


def whole(*results: CheckResult) -> Report:
    """One in which every group has a result; later ones take the place of a group's."""
    found = {each: _result(each, Outcome.PASSED) for each in GROUPS}
    found |= {each.group: each for each in results}
    return made(groups=GROUPS, results=(*found.values(), RESULTS[-1]))


def _result(group: str, outcome: Outcome, reason: str = "") -> CheckResult:
    return CheckResult(id=f"Test::test_{group}", group=group, outcome=outcome, reason=reason)


def test_groups_that_were_not_run_limit_the_verdict() -> None:
    for report in (
        made(groups=GROUPS[:-1], results=whole().results[:5]),
        whole(_result("skew", Outcome.SKIPPED, f"{NO_DEVICE} npu:0: gone.")),
    ):
        data = report.to_dict()
        assert (data["conforms"], data["complete"]) == (True, False)
        assert data["not_run"] == ["skew"]
        assert data["verdict"] == "conforms, as far as it was run"
    # A group that does not concern the plugin is none that is missing.
    assert whole(_result("skew", Outcome.SKIPPED, "The plugin does not declare 'x'.")).complete


def test_tests_that_were_chosen_by_name_limit_the_verdict() -> None:
    data = replace(whole(), select="static").to_dict()
    assert (data["select"], data["complete"], data["not_run"]) == ("static", False, [])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"results": (), "select": "no", "groups": GROUPS}, "-k 'no' chose none"),
        ({"results": (), "groups": ("skew",), "select": "no"}, "--group skew -k 'no' chose none"),
        ({"results": (RESULTS[3], RESULTS[5])}, "all that were chosen were skipped"),
    ],
)
def test_where_nothing_was_run_nothing_conforms(changes: dict[str, Any], why: str) -> None:
    report = made(**changes)
    data = report.to_dict()
    assert (data["conforms"], data["complete"]) == (False, False)
    assert data["verdict"] == f"no test was run: {why}"
    assert page(report).startswith(f"# npu: no test was run: {why}\n")


def test_provider_options_are_told_where_there_are_any() -> None:
    report = made(provider_options={"kernel": "x", "threads": 2})
    assert report.to_dict()["provider_options"] == {"kernel": "x", "threads": 2}
    assert "| provider options | kernel='x', threads=2 |" in page(report).splitlines()
    assert "provider options" not in page(made())


def test_a_report_of_an_earlier_core_can_be_read() -> None:
    data = made().to_dict()
    for name in ("select", "provider_options", "complete", "not_run", "verdict"):
        del data[name]
    assert Report.from_dict(data) == made(results=Report.from_dict(data).results)


def test_it_goes_through_json() -> None:
    import json

    report = made(stale=("a sentence",), provider_options={"threads": 2}, select="static")
    data = json.loads(json.dumps(report.to_dict()))
    assert data["conforms"] is False
    assert data["verdict"] == "does not conform"
    assert data["results"][1] == {
        "id": "TestStatic::test_hooks_are_marked",
        "group": "static",
        "outcome": "failed",
        "reason": "One | two\nlines.",
        "seconds": 0.123,
        "proves": [],
    }
    again = Report.from_dict(data)
    assert again.to_dict() == report.to_dict()
    with pytest.raises(ValueError, match="of format 2, not 1"):
        Report.from_dict({**data, "format": 2})


def test_the_page_shows_results_and_nothing_else() -> None:
    text = page(made(stale=("X is expected to fail and passed.",)))
    assert text.startswith("# npu: does not conform\n")
    for line in (
        "| plugin | sagellm-npu 1.2, for contract 1.0 |",
        "| core | 0.1.0, contract 1.0 |",
        "| device | npu:0 (NPU 9), driver 25.1 |",
        "| machine | Linux x86_64, Python 3.11.7 |",
        "| static | 1 | 1 | 0 | 0 |",
        "| engine | 0 | 0 | 1 | 1 |",
        "| generate | failed: Nothing passed. |",
        "| embed | yes |",
        "| `TestStatic::test_hooks_are_marked` | One \\| two lines. |",
        "| `TestEngine::test_x` | as yet (no.) |",
        "| `TestEngine::test_y` | Not here. |",
        "- X is expected to fail and passed.",
        "**static**: `TestStatic::test_import_is_quick`",
    ):
        assert line in text.splitlines()


def test_a_page_of_a_plugin_that_conforms() -> None:
    report = whole()
    text = page(report)
    assert report.complete
    assert text.startswith("# npu: conforms\n")
    assert "## Failed" not in text
    assert "## Skipped" not in text


def test_a_page_without_a_usable_device() -> None:
    device = {
        "id": "npu:0",
        "name": "",
        "state": "present_unusable",
        "reason": "No driver.",
        "driver": "",
        "memory_total": None,
    }
    assert "| device | npu:0, present, unusable: No driver. |" in page(made(device=device))
    assert "| device | the plugin told of none |" in page(made(device={}))
