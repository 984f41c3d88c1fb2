from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

_SCRIPT = (
    "--option",
    'script={one: first, two: second, "a\\nb": both, "*": "I do not know"}',
)


def test_each_line_of_a_pipe_is_a_turn(sagellm: Callable[..., Any], mock: tuple[str, ...]) -> None:
    done = sagellm("chat", *mock, *_SCRIPT, input="one\ntwo\n\nthree")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "first\nsecond\nI do not know\n"


@pytest.mark.parametrize("text", ["a\\\nb\n", '"""\na\nb\n"""\n', '"""a\nb"""\n', '"""\na\nb'])
def test_a_turn_of_several_lines(
    sagellm: Callable[..., Any], mock: tuple[str, ...], text: str
) -> None:
    assert sagellm("chat", *mock, *_SCRIPT, input=text).stdout == "both\n"


def test_the_conversation_is_part_of_the_prompt(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    flags = (*mock, "-t", "0", "--max-tokens", "8")
    answers = sagellm("chat", *flags, input="Hi\nHi\n/clear\nHi\n/system Be brief\nHi\n").stdout
    first, second, cleared, _ = answers.splitlines()
    assert first != second
    assert first == cleared
    with_system = sagellm("chat", *flags, "--system", "Be brief", input="Hi\nHi\n").stdout
    removed = sagellm("chat", *flags, "--system", "Be brief", input="/system\nHi\n").stdout
    assert with_system.splitlines()[0] != first
    assert removed.splitlines()[0] == first


def test_leaving(sagellm: Callable[..., Any], mock: tuple[str, ...]) -> None:
    done = sagellm("chat", *mock, *_SCRIPT, input="one\n/exit\ntwo\n")
    assert (done.returncode, done.stdout) == (0, "first\n")


def test_help_and_unknown_commands(sagellm: Callable[..., Any], mock: tuple[str, ...]) -> None:
    done = sagellm("chat", *mock, *_SCRIPT, input="/help\n/nonsense\none\n")
    assert "/system TEXT" in done.stderr
    assert "/nonsense" in done.stderr
    assert done.stdout == "first\n"
    assert done.returncode == 1


def test_a_failed_turn_is_said_and_the_next_one_answered(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    done = sagellm("chat", *mock, *_SCRIPT, "--option", "fail_at_step=1", input="one\ntwo\n")
    assert done.stderr.startswith("error: ")
    assert done.stdout == "second\n"
    assert done.returncode == 1


def test_a_conversation_that_fills_the_context_says_how_to_make_room(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    small = ("--option", "context_length=40", "--option", "script={'*': well then}")
    done = sagellm("chat", *mock, *small, input="Hello you\n" * 6 + "/clear\nHello you\n")
    assert "/clear forgets the conversation" in done.stderr
    assert done.stdout.splitlines()[-1] == "well then"
    alone = sagellm("chat", *mock, *small, input="Hello " * 60 + "\n")
    assert "The prompt has" in alone.stderr
    assert "/clear" not in alone.stderr


def test_a_pipe_that_is_not_utf8(sagellm: Callable[..., Any], mock: tuple[str, ...]) -> None:
    done = sagellm("chat", *mock, *_SCRIPT, input=b"one\nab\xff\n")
    assert done.returncode == 1
    assert "byte 6 is 0xff" in done.stderr


def test_a_conversation_on_a_terminal(terminal: Callable[..., Any], mock: tuple[str, ...]) -> None:
    chat = terminal("chat", *mock, *_SCRIPT)
    chat.wait_for(">>> ")
    chat.type("one\r")
    chat.wait_for(r"first\r\n")
    chat.wait_for(">>> ")
    chat.type("\x1b[A\r")  # the arrow key brings the last line back
    chat.wait_for(r"first\r\n")
    chat.wait_for(">>> ")
    chat.type("\x04")
    code, _ = chat.end()
    assert code == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(
    terminal: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    reply = " ".join(f"word{number}" for number in range(500))
    slow = ("--option", f"script={{go: '{reply}', after: here}}", "--option", "tpot_s=0.01")
    chat = terminal("chat", *mock, *slow, "--max-tokens", "4000")
    chat.wait_for(">>> ")
    chat.type("go\r")
    chat.wait_for("word2")
    chat.type("\x03")
    chat.wait_for(r"\(stopped\)")
    chat.wait_for(">>> ")
    chat.type("after\r")
    chat.wait_for(r"here\r\n")
    chat.wait_for(">>> ")
    chat.type("half a line")
    chat.wait_for("half a line")
    chat.interrupt(r"Ctrl-C again")
    chat.wait_for(">>> ")
    chat.type("after\r")
    chat.wait_for(r"here\r\n")
    chat.wait_for(">>> ")
    chat.interrupt(r"Ctrl-C again")
    chat.wait_for(">>> ")
    chat.interrupt()
    code, shown = chat.end()
    assert code == 130
    assert "Traceback" not in shown


def test_a_stopped_answer_stays_in_the_conversation(
    terminal: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    chat = terminal("chat", *mock, "-t", "0", "--option", "tpot_s=0.03", "--max-tokens", "60")
    chat.wait_for(">>> ")
    chat.type("Hi\r")
    chat.wait_for(r"Hi\r\n")
    fresh = chat.wait_for(r"\w+ \w+ \w+ ")
    chat.type("\x03")
    chat.wait_for(r"\(stopped\)")
    chat.wait_for(">>> ")
    chat.type("Hi\r")
    chat.wait_for(r"Hi\r\n")
    # The mock's answer depends on all of its prompt: with a longer one it is another.
    assert chat.wait_for(r"\w+ \w+ \w+ ") != fresh
    chat.type("\x03")
    chat.wait_for(r"\(stopped\)")


def test_ctrl_c_while_loading_ends_the_program(
    terminal: Callable[..., Any], plugin_site: Any
) -> None:
    plugin_site.add(
        "slow",
        load="options.on_progress('reading weights', 1, 4); time.sleep(30)",
        capabilities="frozenset({Capability.ANY_MODEL, Capability.GENERATE})",
    )
    chat = terminal("chat", "--backend", "slow", "-m", "x", PYTHONPATH=str(plugin_site.path))
    chat.wait_for(r"reading weights \[#+\.+\]  25%")
    began = time.monotonic()
    chat.type("\x03")
    code, shown = chat.end()
    assert code == 130
    assert time.monotonic() - began < 5
    assert "Traceback" not in shown
