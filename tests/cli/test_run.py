from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest


def test_an_answer_is_the_text_and_nothing_else(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    done = sagellm("run", *mock, "-p", "Hello", "--option", "script={Hello: Good day}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Good day\n", "")


def test_the_model_may_come_from_the_environment(sagellm: Callable[..., Any]) -> None:
    done = sagellm("run", "--backend", "mock", "-p", "Hi", env={"SAGELLM_MODEL": "any"})
    assert done.returncode == 0


def test_a_backend_that_needs_no_model_gets_none(sagellm: Callable[..., Any]) -> None:
    assert sagellm("run", "--backend", "mock", "-p", "Hi").returncode == 0
    assert sagellm("run", "-p", "Hi", env={"SAGELLM_BACKEND": "mock"}).returncode == 0
    assert sagellm("run", "--backend", "auto", "-p", "Hi").returncode == 2


def test_a_quantization_is_the_provider_s_to_refuse(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    done = sagellm("run", *mock, "-p", "Hi", "--quantization", "int8")
    assert done.returncode == 1
    assert "no weights to quantize to 'int8'" in done.stderr
    done = sagellm("run", *mock, "-p", "Hi", "--quantization", "int3")
    assert "'none', 'int8' or 'int4'" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("-p", "-")])
def test_a_prompt_from_a_pipe(
    sagellm: Callable[..., Any], mock: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    script = ("--option", 'script={"Grüße 👋": "ja"}')
    done = sagellm("run", *mock, *arguments, *script, input="Grüße 👋\n")
    assert (done.returncode, done.stdout) == (0, "ja\n")


def test_a_pipe_that_is_not_utf8(sagellm: Callable[..., Any], mock: tuple[str, ...]) -> None:
    done = sagellm("run", *mock, input=b"abc\xe4def")
    assert done.returncode == 1
    assert "byte 3 is 0xe4" in done.stderr


def test_an_argument_that_is_not_utf8(cli_env: dict[str, str], mock: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sagellm_core.cli", "run", *mock, "-p", b"a\xff"],
        env=cli_env,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert b"not UTF-8" in done.stderr


@pytest.mark.parametrize("prompt", ["", "  \n "])
@pytest.mark.parametrize("piped", [True, False])
def test_an_empty_prompt(
    sagellm: Callable[..., Any], mock: tuple[str, ...], prompt: str, piped: bool
) -> None:
    done = sagellm("run", *mock, *(() if piped else ("-p", prompt)), input=prompt)
    assert done.returncode == 1
    assert "empty" in done.stderr


def test_a_closed_stdin_is_no_prompt(cli_env: dict[str, str], mock: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sagellm_core.cli", "run", *mock],
        env=cli_env,
        capture_output=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: os.close(0),
    )
    assert done.returncode == 2
    assert b"No prompt" in done.stderr


def test_json_is_the_whole_result(sagellm: Callable[..., Any], mock: tuple[str, ...]) -> None:
    done = sagellm("run", *mock, "-p", "Hi", "--max-tokens", "3", "--json")
    result = json.loads(done.stdout)
    assert result["usage"]["completion_tokens"] == 3
    assert result["provider"]["name"] == "mock"


def test_json_lines_add_up_to_the_result(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    done = sagellm("run", *mock, "-p", "Hi", "--max-tokens", "9", "--json", "--stream")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    result = lines[-1]["result"]
    assert "".join(line["text"] for line in lines) == result["text"]
    assert [token for line in lines for token in line["token_ids"]] == result["token_ids"]
    assert lines[-1]["finish_reason"] == result["finish_reason"]
    assert all("result" not in line for line in lines[:-1])


def test_every_flag_reaches_the_engine(sagellm: Callable[..., Any], mock: tuple[str, ...]) -> None:
    def answer(*flags: str) -> str:
        done = sagellm("run", *mock, "-p", "Hi", "--max-tokens", "12", *flags)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    seeded = answer("--seed", "7")
    assert answer("--seed", "7") == seeded
    assert answer("--seed", "8") != seeded
    assert answer("-t", "0") == answer("--temperature", "0")
    greedy = answer("-t", "0")
    word = greedy.split()[3]
    assert answer("-t", "0", "--stop", word) == greedy.partition(word)[0] + "\n"
    assert answer("-t", "0", "--system", "Be brief") != greedy
    assert answer("-t", "0", "--prompt-format", "raw") != greedy
    every = ("--top-p", "0.5", "--top-k", "5", "--min-p", "0.1", "--repetition-penalty", "1.1")
    answer(*every, "--presence-penalty", "0.5", "--frequency-penalty", "0.5", "--timeout", "30")


def test_a_stream_comes_as_it_is_made(sagellm: Any, mock: tuple[str, ...]) -> None:
    process = sagellm.start(
        "run", *mock, "-p", "Hi", "--stream", "--option", "tpot_s=0.1", "--max-tokens", "12"
    )
    times = []
    while process.stdout.read1(4096):
        times.append(time.monotonic())
    assert process.wait(timeout=20) == 0
    assert len(times) > 3
    assert times[-1] - times[0] > 0.3


def test_a_timeout_has_its_own_exit_code(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    done = sagellm("run", *mock, "-p", "Hi", "--timeout", "0.3", "--option", "tpot_s=0.1")
    assert done.returncode == 124
    assert done.stderr.startswith("error: ")


def test_a_provider_that_fails_in_a_step(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    done = sagellm("run", *mock, "-p", "Hi", "--stream", "--option", "fail_at_step=3")
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    debug = sagellm("run", *mock, "-p", "Hi", "--debug", "--option", "fail_at_step=3")
    assert "RuntimeError" in debug.stderr


@pytest.mark.parametrize("flags", [("--stream",), ("--stream", "--json")])
def test_a_reader_that_goes_away_is_no_error(
    sagellm: Any, mock: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    process = sagellm.start("run", *mock, "-p", "Hi", *flags, "--option", "tpot_s=0.02")
    assert process.stdout.read(1)
    process.stdout.close()
    assert process.wait(timeout=20) == 141
    assert process.stderr.read() == b""


def test_a_narrow_terminal_shows_question_marks(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    done = sagellm(
        "run",
        *mock,
        "-p",
        "Hi",
        "--option",
        "script={Hi: 'a👋b'}",
        env={"PYTHONIOENCODING": "latin1"},
    )
    assert (done.returncode, done.stdout) == (0, "a?b\n")


def test_a_plugin_switched_off_is_not_used(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    done = sagellm("-p", "no:mock", "run", *mock, "-p", "Hi")
    assert done.returncode == 1
    assert "no:mock" in done.stderr
