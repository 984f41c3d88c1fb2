"""What differs where a person is looking."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.cli.progress import progress_line

_LOADING = {
    "load": "[options.on_progress('reading', n, 2) for n in (0, 1)]; time.sleep(0.3); "
    "raise ModelFormatError('broken', hint='mend it')",
    "capabilities": "frozenset({Capability.ANY_MODEL, Capability.GENERATE})",
}


def test_a_bar_on_a_terminal_is_gone_in_the_end(
    terminal: Callable[..., Any], plugin_site: Any
) -> None:
    plugin_site.add("some", **_LOADING)
    shown = terminal(
        "run", "--backend", "some", "-m", "x", "-p", "Hi", PYTHONPATH=str(plugin_site.path)
    )
    before = shown.wait_for(r"reading \[\.+\]   0%")
    assert before.startswith("\r")
    code, rest = shown.end()
    assert code == 1
    assert re.search(r"\r +\r.*error: ", rest)


def test_nothing_of_it_in_a_pipe(sagellm: Callable[..., Any], plugin_site: Any) -> None:
    plugin_site.add("some", **_LOADING)
    done = sagellm("run", "--backend", "some", "-m", "x", "-p", "Hi", path=plugin_site.path)
    assert done.stderr == "error: broken\nhint: mend it\n"


@pytest.mark.parametrize("arguments", [("plugins", "list"), ("models", "path", "x")])
def test_colours_on_a_terminal_unless_declined(
    terminal: Callable[..., Any], sagellm: Callable[..., Any], arguments: tuple[str, ...]
) -> None:
    assert "\x1b[" in terminal(*arguments).end()[1]
    assert "\x1b[" not in terminal(*arguments, NO_COLOR="1").end()[1]
    done = sagellm(*arguments)
    assert "\x1b[" not in done.stdout + done.stderr


@pytest.mark.parametrize("stream", [(), ("--stream",)])
def test_an_answer_that_was_cut_off_says_so_to_a_person(
    terminal: Callable[..., Any],
    sagellm: Callable[..., Any],
    mock: tuple[str, ...],
    stream: tuple[str, ...],
) -> None:
    command = ("run", *mock, *stream, "-p", "Hi", "--option", "script={Hi: one two three}")
    cut = "(cut off after 2 tokens; --max-tokens N allows more)"
    assert cut in terminal(*command, "--max-tokens", "2").end()[1]
    assert sagellm(*command, "--max-tokens", "2").stderr == ""
    assert "cut off" not in terminal(*command).end()[1]
    full = terminal(*command, "--option", "context_length=8").end()[1]
    assert "(cut off where the context of 8 tokens is full)" in full


@pytest.mark.parametrize("columns", [100, 80, 50])
def test_tables_fit_the_terminal_and_are_a_line_a_row_in_a_pipe(
    terminal: Callable[..., Any], sagellm: Callable[..., Any], plugin_site: Any, columns: int
) -> None:
    plugin_site.add("quiet")
    reason = "no such device was found, " * 8 + "anywhere"
    plugin_site.add(
        "wordy",
        devices=f"[DeviceInfo(id='none', state=DeviceState.ABSENT, reason='{reason}')]",
    )
    path = {"PYTHONPATH": str(plugin_site.path)}
    code, shown = terminal("plugins", "why", COLUMNS=str(columns), NO_COLOR="1", **path).end()
    assert code == 0
    table = shown.partition("\r\n\r\n")[0].splitlines()
    assert max(map(len, table)) <= columns
    assert any(line.endswith("chosen") for line in table)
    assert " ".join(shown.split()).count("no such device was found,") == 8
    piped = sagellm("plugins", "why", path=plugin_site.path).stdout.splitlines()
    assert [line.split()[1] for line in piped if "no such device" in line] == ["wordy"]


def test_no_prompt_on_a_terminal_is_wrong_usage(
    terminal: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    code, shown = terminal("run", *mock).end()
    assert code == 2
    assert "No prompt" in shown


@given(
    stage=st.text(max_size=80),
    done=st.integers(-(10**12), 10**12),
    total=st.integers(-5, 10**12),
)
def test_every_progress_is_a_line_of_bounded_length(stage: str, done: int, total: int) -> None:
    line = progress_line(stage, done, total)
    assert len(line) <= 80
    if 0 < total <= done:
        assert line.endswith("100%")
