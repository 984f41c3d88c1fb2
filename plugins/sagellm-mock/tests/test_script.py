"""Answers written beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sagellm_mock.options import SCRIPT_VARIABLE

from sagellm_core.contract import ConfigurationError, FinishReason

SCRIPT = """\
"2+2?": "4"
How are you?: Fine 😀, thanks.
? |
  several
  lines
: "one"
"*": "I do not know."
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "replies.yaml"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


@pytest.mark.parametrize("chat", [True, False])
def test_a_mapping(mock: Any, chat: bool) -> None:
    one = mock(script={"2+2?": "4", "empty": ""})
    answer = one.ask("  2+2?\n", chat=chat)
    assert (answer.text, answer.finish_reason) == ("4", FinishReason.STOP)
    assert one.ask("empty", chat=chat).text == ""
    assert len(one.ask("something else", chat=chat).text) > 10


def test_the_last_user_message_counts(mock: Any) -> None:
    one = mock(script={"2+2?": "4", "3+3?": "6"})
    messages = [
        {"role": "system", "content": "3+3?"},
        {"role": "user", "content": "3+3?"},
        {"role": "assistant", "content": "6"},
        {"role": "user", "content": "2+2?"},
    ]
    assert one.ask(one.tokenizer.apply_chat_template(messages)).text == "4"


def test_a_file_as_an_option(mock: Any, script: Path) -> None:
    for given in (script, str(script)):
        one = mock(script=given)
        assert one.ask("How are you?").text == "Fine 😀, thanks."
        assert one.ask("several\nlines", chat=True).text == "one"
        assert one.ask("anything").text == "I do not know."


def test_a_file_as_the_model(mock: Any, script: Path) -> None:
    assert mock(str(script)).ask("2+2?").text == "4"


def test_a_model_that_is_called_like_a_file_needs_none(mock: Any) -> None:
    assert len(mock("missing.yaml").ask("2+2?").text) > 10


def test_a_file_in_the_environment(
    mock: Any, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCRIPT_VARIABLE, str(script))
    assert mock().ask("2+2?").text == "4"
    assert mock(script={"2+2?": "5"}).ask("2+2?").text == "5"


def test_max_tokens_stop_and_ignore_eos_hold_for_replies(mock: Any) -> None:
    one = mock(script={"*": "one two three"})
    answer = one.ask("x", max_tokens=3)
    assert answer.finish_reason is FinishReason.LENGTH
    assert "one two three".startswith(answer.text)
    assert one.ask("x", stop=" two").text == "one"
    assert one.ask("x", ignore_eos=True, max_tokens=40).text.startswith("one two threeone two")


def test_replies_do_not_depend_on_the_seed(mock: Any) -> None:
    one = mock(script={"*": "the same"})
    assert {one.ask("x", temperature=1.0, seed=seed).text for seed in range(4)} == {"the same"}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: b\nc: [", 2, "YAML"),
        ("a: b\n\tc: d", 2, "YAML"),
        ("- a\n- b", 1, "mapping"),
        ("", 1, "mapping"),
        ("a: b\nc: 4", 2, "reply that is not a string"),
        ("a: b\n5: c", 2, "prompt that is not a string"),
        ("a: b\n\nc:\n  - d", 4, "reply that is not a string"),
        ("a: b\nc: d\na: e", 3, "second time"),
        ("a: b\nc: \x00", 2, "YAML"),
        ("a: !!python/object/apply:os.system ['true']", 1, "not a string"),
    ],
)
def test_a_bad_file_is_an_error_with_its_line(
    load_model: Any, tmp_path: Path, text: str, line: int, said: str
) -> None:
    path = tmp_path / "bad.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_model(script=str(path))
    assert str(path) in caught.value.message
    assert f"line {line}" in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_utf_8(load_model: Any, tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("a: b\nc: é".encode("latin-1"))
    with pytest.raises(ConfigurationError, match="line 2"):
        load_model(script=path)


def test_a_missing_file_is_an_error(
    load_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing.yaml"
    with pytest.raises(ConfigurationError, match=r"missing\.yaml"):
        load_model(script=missing)
    monkeypatch.setenv(SCRIPT_VARIABLE, str(missing))
    with pytest.raises(ConfigurationError, match=r"missing\.yaml"):
        load_model()


@pytest.mark.parametrize("script", [{"a": 1}, {1: "a"}, {"a": None}])
def test_a_mapping_of_something_else_is_an_error(load_model: Any, script: Any) -> None:
    with pytest.raises(ConfigurationError, match="script"):
        load_model(script=script)
