"""A declared capability without a passing test is a failure."""

from __future__ import annotations

from typing import Any

import pytest

from sagellm_core.testing import Declaration
from sagellm_core.testing.result import CheckResult, Outcome
from sagellm_core.testing.verdicts import NO_DEVICE, verdict

_PROOF = {"group": "numeric", "proves": ("generate",)}


def result(outcome: str, reason: str = "", **changes: Any) -> CheckResult:
    fields: dict[str, Any] = {"id": "TestA::test_b[llama]", **_PROOF, **changes}
    return CheckResult(outcome=Outcome(outcome), reason=reason, **fields)


def judged(*results: CheckResult, **declared: Any) -> CheckResult:
    declaration = Declaration(plugin="mine", capabilities={"generate"}, **declared)
    return verdict("generate", results, declaration)


@pytest.mark.parametrize(
    ("outcomes", "wanted"),
    [
        (["passed"], "passed"),
        (["failed", "passed", "skipped"], "passed"),
        (["xpassed"], "passed"),
        (["failed"], "failed"),
        (["skipped", "skipped"], "failed"),
        (["xfailed"], "failed"),
        ([], "skipped"),
    ],
)
def test_one_that_passed_is_enough(outcomes: list[str], wanted: str) -> None:
    assert judged(*map(result, outcomes)).outcome == wanted


def test_others_prove_nothing() -> None:
    assert judged(result("passed", proves=("embed",))).outcome is Outcome.SKIPPED


def test_the_sentence_names_the_tests_and_their_reasons() -> None:
    reason = judged(result("failed", "Token 3 is wrong."), result("skipped", "No.")).reason
    assert reason == (
        "The plugin declares 'generate', and no test of it passed: TestA::test_b[llama] failed"
        " (Token 3 is wrong); TestA::test_b[llama] skipped (No)."
    )


def test_without_a_device_nothing_is_judged_unless_one_is_required() -> None:
    lacking = result("skipped", f"{NO_DEVICE} npu:0: gone.")
    assert judged(lacking).outcome is Outcome.FAILED
    assert judged(lacking, device_required=False).outcome is Outcome.SKIPPED
    # What does not concern the plugin is skipped anywhere, and proves nothing.
    assert judged(lacking, result("skipped", "Why."), device_required=False).outcome == "skipped"
    assert judged(lacking, result("failed", "Why."), device_required=False).outcome == "failed"
    assert judged(result("skipped", "Why."), device_required=False).outcome == "failed"


def test_a_capability_of_its_own_is_proven_by_the_tests_that_are_named() -> None:
    declared = Declaration(
        plugin="mine", capabilities={"beams"}, proofs={"beams": ["test_beams", "TestX::test_y"]}
    )

    def of(*results: CheckResult) -> str:
        return str(verdict("beams", results, declared).outcome)

    assert of(result("passed", id="test_beams[2]", proves=())) == "passed"
    assert of(result("passed", id="TestX::test_y", proves=())) == "passed"
    assert of(result("failed", id="test_beams", proves=())) == "failed"
    assert of(result("passed", id="test_beams_too", proves=())) == "failed"
    assert of() == "failed"


@pytest.mark.parametrize(
    ("capability", "sentence"),
    [
        ("emebd", "Did you mean 'embed'? Else pass --declaration with a file"),
        ("beams-7", "Pass --declaration with a file that names its tests in proofs={'beams-7': ["),
    ],
)
def test_a_capability_of_its_own_needs_names_of_tests(capability: str, sentence: str) -> None:
    declared = Declaration(plugin="mine", capabilities={capability}, proofs={capability: []})
    found = verdict(capability, [result("passed")], declared)
    assert found.outcome is Outcome.FAILED
    assert sentence in found.reason
    assert "\n" not in found.reason


OWN = """
def test_beams():
    assert {outcome}
"""


@pytest.mark.parametrize(("outcome", "wanted"), [("True", {}), ("False", {"failed"})])
def test_own_tests_run_with_the_suite(
    workshop: Any, told: Any, outcome: str, wanted: set[str]
) -> None:
    name = f"own_{outcome.lower()}"
    workshop.install(name, info="capabilities=CAPABILITIES | {'beams'}")
    arguments = {
        "capabilities": "{'generate', 'logprobs', 'embed', 'beams'}",
        "proofs": "{'beams': ['test_beams']}",
    }
    file = workshop.declare(name, **arguments)
    from sagellm_core.testing.plugin_lookup import find_plugin
    from sagellm_core.testing.running import run_suite

    file.write_text(file.read_text() + OWN.format(outcome=outcome))
    report = run_suite(find_plugin(name), file=file, select="test_beams or test_capabilities")
    failed = told(report)
    assert bool(failed) == bool(wanted)
    if wanted:
        assert (
            "'beams', and no test of it passed: test_beams failed"
            in failed["test_has_a_passing_test[beams]"]
        )
    assert [each.group for each in report.results if each.id == "test_beams"] == ["own"]
