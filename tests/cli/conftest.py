"""The real command in a process of its own, with and without a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

#: Announces that Python is up, so that a signal tests our code and not the interpreter's start.
_ANNOUNCED = """\
import os, sys
sys.argv[0] = "sagellm"
from sagellm_core.cli import main
os.write(int(os.environ["READY_FD"]), b"r")
sys.exit(main())
"""


@pytest.fixture
def cli_env(tmp_path: Path) -> dict[str, str]:
    """An environment that knows nothing of the user's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAGE", "HF_", "_SAGELLM", "PYTHON", "XDG_"))
        and name not in ("NO_COLOR", "FORCE_COLOR")
    }
    home = tmp_path / "home"
    home.mkdir()
    return {**kept, "HOME": str(home), "TERM": "xterm", "PYTHONWARNINGS": "error"}


class Command:
    """``sagellm`` as its users start it."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self._started: list[subprocess.Popen[bytes]] = []

    def __call__(
        self,
        *arguments: str,
        input: str | bytes = b"",
        env: dict[str, str] | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; ``path`` goes onto PYTHONPATH."""
        extra = {"PYTHONPATH": os.fspath(path)} if path else {}
        done = subprocess.run(
            [sys.executable, "-m", "sagellm_core.cli", *arguments],
            input=input.encode() if isinstance(input, str) else input,
            env={**self.env, **extra, **(env or {})},
            capture_output=True,
            timeout=60,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start, and return when Python is up and our code begins."""
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-c", _ANNOUNCED, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.env, "READY_FD": str(writer)},
            pass_fds=[writer],
            # A test runner in the background has SIGINT ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(writer)
        assert os.read(reader, 1) == b"r"
        os.close(reader)
        self._started.append(process)
        return process

    def close(self) -> None:
        """End what a failed test left."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


@pytest.fixture
def sagellm(cli_env: dict[str, str]) -> Iterator[Command]:
    command = Command(cli_env)
    yield command
    command.close()


class Terminal:
    """``sagellm`` on a terminal of its own, where Ctrl-C is a key."""

    def __init__(self, arguments: tuple[str, ...], env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._seen = ""

        def controlled() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGINT, signal.default_int_handler)

        self.process = subprocess.Popen(
            [sys.executable, "-m", "sagellm_core.cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            preexec_fn=controlled,
        )
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self, answer: str = "") -> None:
        """Press Ctrl-C at a prompt; ``answer`` has to come, or the process to end.

        readline waits for keys with select() and notices a signal only when it interrupts that:
        one that comes between the prompt and select() passes unseen. So, as a person would,
        press again where nothing happens.
        """
        for _ in range(5):
            self.type("\x03")
            try:
                if answer:
                    self.wait_for(answer, 4)
                else:
                    self.process.wait(timeout=4)
            except (AssertionError, subprocess.TimeoutExpired):
                continue
            return
        raise AssertionError(f"Ctrl-C had no effect; shown: {self._seen!r}")

    def wait_for(self, pattern: str, seconds: float = 20) -> str:
        """Everything shown since the last call, up to the end of ``pattern``."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self._seen)):
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{pattern!r} did not come; shown: {self._seen!r}")
        shown, self._seen = self._seen[: found.end()], self._seen[found.end() :]
        return shown

    def end(self, seconds: float = 20) -> tuple[int, str]:
        """Wait for the process; its exit code and everything shown since the last call."""
        end = time.monotonic() + seconds
        while self._read(end - time.monotonic()):
            pass
        return self.process.wait(timeout=seconds), self._seen

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], max(seconds, 0))[0]:
            return False
        try:
            raw = os.read(self._master, 65536)
        except OSError:  # how Linux reports that the other side is closed
            return False
        self._seen += raw.decode("utf-8", "replace")
        return bool(raw)


@pytest.fixture
def terminal(cli_env: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    opened = []

    def open_terminal(*arguments: str, **env: str) -> Terminal:
        opened.append(Terminal(arguments, {**cli_env, **env}))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


@pytest.fixture
def mock() -> tuple[str, ...]:
    """Flags for a provider that needs no model files."""
    return ("--backend", "mock", "-m", "any")
