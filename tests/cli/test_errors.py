"""How mistakes are answered."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.cli.log import LogLines
from sagellm_core.cli.prompt import decode_input
from sagellm_core.cli.state import State
from sagellm_core.contract import InvalidRequestError


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("plugin",), "Did you mean 'plugins'?"),
        (("plugins", "lits"), "Did you mean 'list'?"),
        (("models", "zzzz"), "There are: list, show, download, add, import, rm, path."),
        (("run", "--modle", "x"), "--model"),
        (("run", "-p", "hi"), "No model was named"),
        (("chat",), "No model was named"),
        (("-p", "cuda", "version"), "no:NAME"),
        (("-p", "no:", "version"), "no:NAME"),
        (("completion", "tcsh"), "tcsh"),
        (("models", "add", "x"), "PATH"),
        (("run", "-m", "x", "-p", "hi", "--option", "novalue"), "KEY=VALUE"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_right(
    sagellm: Callable[..., Any], arguments: tuple[str, ...], says: str
) -> None:
    done = sagellm(*arguments)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: Try 'sagellm")


@pytest.mark.parametrize("debug", [False, True])
def test_what_the_library_logs_is_a_line_and_its_traceback_for_debug_only(
    capsys: pytest.CaptureFixture[str], debug: bool
) -> None:
    state = State()
    state.debug = debug
    log = logging.Logger("some")
    log.addHandler(LogLines(state))
    log.info("not for people")
    try:
        raise OSError("disk on fire")
    except OSError:
        log.exception("closing %s failed", "it")
    shown = capsys.readouterr().err
    assert shown.startswith("error: closing it failed\n")
    assert ("disk on fire" in shown) is debug
    assert ("not for people" in shown) is False


def test_a_misspelt_plugin_is_an_error_whatever_the_command(sagellm: Callable[..., Any]) -> None:
    done = sagellm("-p", "no:mok", "version")
    assert done.returncode == 1
    assert "'mok'" in done.stderr
    assert "Did you mean 'mock'?" in done.stderr


def test_errors_are_two_lines_and_debug_adds_the_traceback(sagellm: Callable[..., Any]) -> None:
    plain = sagellm("models", "path", "nothing")
    assert plain.returncode == 1
    assert plain.stderr.splitlines() == [
        "error: No model 'nothing' is registered.",
        "hint: See: sagellm models list",
    ]
    debug = sagellm("--debug", "models", "path", "nothing")
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr
    assert debug.stderr.splitlines()[-2:] == plain.stderr.splitlines()


def test_json_errors_are_one_object_on_stdout(sagellm: Callable[..., Any]) -> None:
    done = sagellm("models", "path", "nothing", "--json")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "model_not_found"
    assert set(error) == {"type", "code", "message", "hint", "retryable"}


def test_json_usage_errors_too(sagellm: Callable[..., Any]) -> None:
    done = sagellm("run", "--json", "-p", "hi")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "usage"


def test_json_usage_errors_that_stand_before_the_flag(sagellm: Callable[..., Any]) -> None:
    done = sagellm("run", "--nonsense", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "usage"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("flags", [(), ("--stream",), ("--json",)])
def test_output_that_has_no_room_is_no_defect(
    plugin_site: Any, mock: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    arguments = ["run", *mock, "-p", "hi", *flags]
    done = plugin_site.run(
        f"""
        import os, sys
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        sys.argv = ["sagellm", *{arguments!r}]
        from sagellm_core.cli import main
        sys.exit(main())
        """
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: The output could not be written: No space left on device.",
        "hint: Make room, or send the output elsewhere.",
    ]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--max-tokens", "0"),
        ("--max-tokens", "-1"),
        ("--max-tokens", "five"),
        ("--max-tokens", "True"),
        ("--temperature", "nan"),
        ("--temperature", "-1"),
        ("--top-p", "2"),
        ("--top-k", "1.5"),
        ("--seed", "-3"),
        ("--timeout", "0"),
        ("--prompt-format", "xml"),
        ("--stop", ""),
    ],
)
def test_values_are_refused_by_name_before_a_model_is_loaded(
    sagellm: Callable[..., Any], flag: str, value: str
) -> None:
    # The model does not exist: had it been looked for, that would be the error.
    done = sagellm("run", "-m", "/no/such/model", "-p", "hi", flag, value)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {flag.removeprefix('--').replace('-', '_')}=")
    assert "hint: " in done.stderr


def test_yaml_that_is_none(sagellm: Callable[..., Any], mock: tuple[str, ...]) -> None:
    done = sagellm("run", *mock, "-p", "hi", "--option", "tpot_s=[1, 2")
    assert done.returncode == 1
    assert "tpot_s" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--backend", "mocc", "-m", "x"), "Did you mean 'mock'?"),
        (("--backend", "mock", "-m", "x", "--option", "tpto_s=1"), "tpto_s"),
        (("-m", "/no/such/model"), "/no"),
    ],
)
def test_what_the_generator_refuses(
    sagellm: Callable[..., Any], arguments: tuple[str, ...], says: str
) -> None:
    done = sagellm("run", "-p", "hi", *arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stdout == ""


def test_a_registry_whose_place_cannot_be_told(sagellm: Callable[..., Any]) -> None:
    done = sagellm("models", "list", env={"SAGE_SAGELLM_MODEL_ROOT": "~no-such-user/x"})
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "hint: Set SAGE_SAGELLM_MODEL_ROOT" in done.stderr


@given(text=st.text(), junk=st.binary(max_size=8), at=st.integers(0, 10**9))
def test_decoding_names_the_byte(text: str, junk: bytes, at: int) -> None:
    raw = text.encode("utf-8", "ignore") + b"\xff" + junk
    with pytest.raises(InvalidRequestError, match=f"byte {at + len(raw) - len(junk) - 1} is 0xff"):
        decode_input(raw, at)
