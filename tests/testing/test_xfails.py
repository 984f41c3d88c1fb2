"""Expected failures: from the file to the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import ConfigurationError
from sagellm_core.testing.result import Outcome
from sagellm_core.testing.xfails import read_xfails

WRONG_ROPE = """
@hookimpl
def sagellm_open_runner(model, config):
    from .runner import TinyRunner
    class Flawed(TinyRunner):
        def draw(self, logits, slot):
            drawn = super().draw(logits, slot)
            told = drawn.logprobs
            if told is None:
                return drawn
            return drawn._replace(logprobs=TokenLogprobs(told.token_id, told.logprob - 1, told.top))
    return Flawed(model, config)
"""
LOGPROBS = "TestDecoding::test_logprobs_equal_the_reference"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "xfails.txt"
    path.write_text(text)
    return path


def test_lines_have_an_id_and_a_reason(tmp_path: Path) -> None:
    text = "# a comment\n\nA::test_b[x # 1]  # as yet\nA::test_c\t# never\n"
    found = read_xfails(written(tmp_path, text))
    assert [(each.id, each.reason, each.line) for each in found.entries] == [
        ("A::test_b[x", "1]  # as yet", 3),
        ("A::test_c", "never", 4),
    ]
    assert found.of("A::test_c[llama]") is found.entries[1]
    assert found.of("A::test_cd") is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("A::test_b\n", "line 1: 'A::test_b' has no reason"),
        ("A::test_b #\n", "line 1: 'A::test_b' has no reason"),
        ("A::test_b # x\n\nA::test_b # y\n", "line 3: 'A::test_b' stands there twice"),
    ],
)
def test_lines_that_say_too_little(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence.replace("(", r"\(")):
        read_xfails(written(tmp_path, text))


def test_expected_failures_do_not_fail_the_run(workshop: Any, told: Any) -> None:
    workshop.install("lies_about_logprobs", WRONG_ROPE)
    file = workshop.declare("lies_about_logprobs", xfails="'xfails.txt'")
    (file.parent / "xfails.txt").write_text(
        f"{LOGPROBS}[llama]  # off by one\n"
        "TestCapabilities::test_has_a_passing_test[logprobs]  # therefore\n"
        "TestDecoding::test_a_slot_forgets  # was so once\n"
    )
    report = workshop.run("lies_about_logprobs", "numeric", xfails="'xfails.txt'")
    assert told(report) == {}
    assert report.conforms
    expected = {each.id: each.reason for each in report.of(Outcome.XFAILED)}
    assert set(expected) == {
        f"{LOGPROBS}[llama]",
        "TestCapabilities::test_has_a_passing_test[logprobs]",
    }
    assert expected[f"{LOGPROBS}[llama]"].startswith("off by one (Token 0 of the output: the log")
    # What passes all the same is told, and where to take it out.
    (stale,) = report.stale
    assert stale.startswith("TestDecoding::test_a_slot_forgets is expected to fail and passed:")
    assert "take line 3 out of" in stale


def test_a_line_about_no_test_is_a_failure(workshop: Any, told: Any) -> None:
    workshop.install("expects_nonsense")
    file = workshop.declare("expects_nonsense", xfails="'xfails.txt'")
    (file.parent / "xfails.txt").write_text(
        "TestDecoding::test_nothing  # why\ntest_elsewhere  # why\n"
        "TestSkew::test_the_contract_is_not_newer  # stale, and known\n"
    )
    report = workshop.run("expects_nonsense", "static", xfails="'xfails.txt'")
    reason = told(report)["test_expected_failures_name_tests"]
    assert "line 1, TestDecoding::test_nothing; line 2, test_elsewhere." in reason
