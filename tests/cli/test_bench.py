from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest


def test_a_table_for_people(sagellm: Callable[..., Any], mock: tuple[str, ...]) -> None:
    done = sagellm("bench", *mock, "--rounds", "1", "--new-tokens", "4")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["model", "any"]
    assert [line.split()[0] for line in lines[-4:]] == ["batch", "1", "8", "16"]


def test_json_says_what_computed_and_how_fast(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    done = sagellm("bench", *mock, "--rounds", "2", "--prompt-tokens", "7", "--json")
    found = json.loads(done.stdout)
    assert (found["prompt_tokens"], found["rounds"]) == (7, 2)
    assert found["provider"]["name"] == "mock"
    assert [row["batch"] for row in found["rows"]] == [1, 8, 16]
    assert all(row["prefill"] > 0 and row["decode"] > 0 for row in found["rows"])
    assert min(found["load_s"], found["ttft_s"], found["peak_rss_bytes"]) > 0


def test_prompts_that_do_not_fit_are_refused(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    done = sagellm("bench", *mock, "--prompt-tokens", "100000000")
    assert done.returncode == 1
    assert "context" in done.stderr
    assert "--prompt-tokens" in done.stderr


def test_no_model_is_wrong_usage(sagellm: Callable[..., Any]) -> None:
    done = sagellm("bench")
    assert done.returncode == 2
    assert "No model was named" in done.stderr


@pytest.mark.parametrize("flag", ["--rounds", "--prompt-tokens", "--new-tokens"])
def test_a_count_below_its_least_is_wrong_usage(
    sagellm: Callable[..., Any], mock: tuple[str, ...], flag: str
) -> None:
    assert sagellm("bench", *mock, flag, "0").returncode == 2


def test_a_quantization_that_no_provider_knows(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    done = sagellm("bench", *mock, "--quantization", "int3")
    assert done.returncode == 1
    assert "int3" in done.stderr


def test_ctrl_c_ends_it_quietly(sagellm: Any, mock: tuple[str, ...]) -> None:
    process = sagellm.start("bench", *mock, "--rounds", "100000")
    with pytest.raises(Exception, match="timed out"):
        process.wait(timeout=1.5)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in output + errors
