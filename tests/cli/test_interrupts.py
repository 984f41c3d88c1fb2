"""Ctrl-C, wherever it comes: exit code 130, no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import pytest


@pytest.mark.parametrize("command", ["run", "why", "list"])
@pytest.mark.parametrize("seconds", [0, 0.01, 0.03, 0.06, 0.12, 0.25, 0.6])
def test_at_any_moment(sagellm: Any, mock: tuple[str, ...], command: str, seconds: float) -> None:
    arguments = {
        "run": ("run", *mock, "-p", "Hi", "--stream", "--option", "tpot_s=0.05"),
        "why": ("plugins", "why"),
        "list": ("plugins", "list"),
    }[command]
    process = sagellm.start(*arguments)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    # The command may have been done already, with what it had to say.
    assert process.returncode in (130, 0, 1)
    assert b"Traceback" not in stderr
    assert b"KeyboardInterrupt" not in stderr
    if process.returncode == 130:
        assert len(stderr.splitlines()) <= 1


@pytest.mark.parametrize("stage", ["ttft_s=30", "tpot_s=30"])
@pytest.mark.parametrize("flags", [(), ("--stream",), ("--json",)])
def test_a_step_that_takes_long_is_not_waited_for(
    sagellm: Any, mock: tuple[str, ...], stage: str, flags: tuple[str, ...]
) -> None:
    process = sagellm.start("run", *mock, "-p", "Hi", *flags, "--option", stage)
    time.sleep(1.2)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=25)
    assert process.returncode == 130
    assert time.monotonic() - began < 5
    assert stderr == b""


def test_twice_in_a_row(sagellm: Any, mock: tuple[str, ...]) -> None:
    process = sagellm.start("run", *mock, "-p", "Hi", "--stream", "--option", "tpot_s=0.1")
    time.sleep(0.8)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in stderr


def test_where_it_was_ignored_it_stays_ignored(cli_env: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sagellm_core.cli", "plugins", "list"],
        env=cli_env,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0]
    assert process.returncode == 0


def test_an_interrupt_that_a_callback_drops_comes_again(cli_env: dict[str, str]) -> None:
    code = """
import os, signal, time
from sagellm_core.cli.interrupts import Interrupts
interrupts = Interrupts()
interrupts.install()

class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

try:
    dropped = Dropped()
    del dropped
    time.sleep(10)
except KeyboardInterrupt:
    interrupts.exit()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=cli_env,
        capture_output=True,
        timeout=20,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stderr) == (130, b"")


def test_an_interrupt_that_came_out_as_another_error(
    sagellm: Any, plugin_site: Any, tmp_path: Any
) -> None:
    # As C extensions do whose import is interrupted.
    plugin_site.add(
        "slow",
        load="""
        open(os.environ["STARTED"], "w").close()
        try:
            time.sleep(20)
        except KeyboardInterrupt:
            raise ImportError("initialisation failed") from None
        """,
        capabilities="frozenset({Capability.ANY_MODEL, Capability.GENERATE})",
    )
    started = tmp_path / "started"
    sagellm.env |= {"PYTHONPATH": str(plugin_site.path), "STARTED": str(started)}
    process = sagellm.start("run", "--backend", "slow", "-m", "any", "-p", "Hi")
    while not started.exists():
        time.sleep(0.02)
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert stderr == b""
