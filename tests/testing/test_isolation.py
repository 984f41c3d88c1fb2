"""A plugin that hangs or dies is a finding, and never the end of the run."""

from __future__ import annotations

from typing import Any

import pytest

from sagellm_core.testing.report import Report
from sagellm_core.testing.result import Outcome

_RUNNER = """
@hookimpl
def sagellm_open_runner(model, config):
    import ctypes, os, signal, time
    from .runner import TinyRunner
    class Flawed(TinyRunner):
        def decode(self, rows):
            {body}
    return Flawed(model, config)
"""
#: Some that decode, one that does not, and one of another group.
SELECT = "test_scattered or slot_forgets or test_batched or test_runners_close or test_marked"
PREFILLS = "TestRunner::test_runners_close_twice"
DECODES = ("TestDecoding::test_batched_equals_alone[llama]",)


def outcomes(report: Report) -> dict[str, str]:
    return {each.id: each.reason for each in report.results if each.outcome is Outcome.FAILED}


def run(workshop: Any, name: str, body: str, select: str = SELECT, **arguments: str) -> Report:
    workshop.install(name, _RUNNER.format(body=body))
    return workshop.run(name, "contract", "numeric", select=select, time_limit="1.0", **arguments)


def test_a_step_that_hangs_is_ended_and_told(workshop: Any) -> None:
    report = run(workshop, "hangs", "time.sleep(3600)")
    failed = outcomes(report)
    first = failed["TestDecoding::test_batched_equals_alone[llama]"]
    assert first.startswith("The test did not end within 1 s (in decode, ")
    assert "tiny_provider/hangs.py, line " in first
    # Two such are enough; who needs no decode passes.
    decoding = [reason for test, reason in failed.items() if test.startswith("TestDecoding")]
    tried = [each for each in decoding if not each.startswith("Not tried: 2 tests before")]
    assert len(tried) == 2 < len(decoding)
    assert PREFILLS in {each.id for each in report.of(Outcome.PASSED)}


def test_a_step_that_cannot_be_interrupted_costs_its_process(workshop: Any) -> None:
    body = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM}); time.sleep(3600)"
    report = run(workshop, "stuck", body, "test_runners_close or slot_forgets")
    failed = outcomes(report)
    reason = failed["TestDecoding::test_a_slot_forgets[llama]"]
    assert reason.startswith("The process did not end within 3 s, and was ended in this test.")
    assert PREFILLS in {each.id for each in report.of(Outcome.PASSED)}


@pytest.mark.parametrize(
    ("name", "body", "sentence"),
    [
        ("leaves", "os._exit(3)", "The process left with code 3 in this test."),
        ("crashes", "ctypes.string_at(0)", "The process was killed by SIGSEGV in this test."),
    ],
)
def test_a_step_that_ends_the_process_is_attributed(
    workshop: Any, name: str, body: str, sentence: str
) -> None:
    report = run(workshop, name, body, "test_runners_close or slot_forgets or test_batched")
    failed = outcomes(report)
    for test in ("test_batched_equals_alone[llama]", "test_a_slot_forgets[llama]"):
        assert failed[f"TestDecoding::{test}"].startswith(sentence)
    assert PREFILLS in {each.id for each in report.of(Outcome.PASSED)}
    if name == "crashes":
        # The traceback of the moment, from faulthandler.
        assert f"{name}.py" in failed["TestDecoding::test_batched_equals_alone[llama]"]


def test_after_three_deaths_the_rest_is_not_tried(workshop: Any) -> None:
    report = run(workshop, "dies_often", "os._exit(3)", "TestDecoding")
    reasons = list(outcomes(report).values())
    assert len([each for each in reasons if each.startswith("The process left")]) == 3
    assert len([each for each in reasons if each.startswith("Not tried: the process died")]) > 3


def test_a_bad_end_after_the_last_test_is_told(workshop: Any) -> None:
    workshop.install("ends_badly", _RUNNER.format(body="os.abort()") + "ENDED = []\n")
    source = workshop.package / "ends_badly.py"
    source.write_text(
        source.read_text()
        + "import os\n@hookimpl\ndef sagellm_load_model(model, options):\n"
        + "    import atexit\n    atexit.register(os.abort)\n"
        + "    from .model import TinyProviderModel\n"
        + "    return TinyProviderModel(model, options)\n"
    )
    report = workshop.run("ends_badly", "contract", select="test_runners_close")
    (reason,) = outcomes(report).values()
    assert reason.startswith("The process was killed by SIGABRT after the last test.")
    assert [each.id for each in report.of(Outcome.PASSED)] == [PREFILLS]


def test_what_it_started_does_not_outlive_the_run(workshop: Any, process_mark: Any) -> None:
    body = "os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '3600'); os._exit(3)"
    run(workshop, "has_children", body, "slot_forgets")
    assert process_mark.gone()
