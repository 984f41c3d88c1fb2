"""A peer, seen from the process that measures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_LAST_WORDS = 600
#: The longest answer is a start that compiles, of some minutes; a peer that hangs is ended.
_LIMIT_S = 900.0
#: Each peer has its own way with threads; a caller's settings would suit one and harm another.
_THREAD_SETTINGS = ("OMP_", "KMP_", "GOMP_", "MKL_")


class PeerError(Exception):
    """A peer could not be installed, or ended; the message has its last words."""


class PeerProcess:
    """One peer with one model. Use it as a context manager.

    While it has nothing to answer it is stopped, with the processes that it started: threads
    that spin or poll would take time from the peer that is measured.

    :param command: starts a process that speaks as :mod:`.child` does.
    :param limit_s: it is ended when an answer takes longer.
    :raises PeerError: it ended instead of answering.
    """

    def __init__(
        self, command: Sequence[str], load: Mapping[str, Any], *, limit_s: float = _LIMIT_S
    ) -> None:
        self._limit_s = limit_s
        # A file: a full pipe that nobody reads would stop the process.
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            list(command),
            cwd=_ROOT,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # A group of its own, which can be stopped as one. In this session, so that the
            # system wakes and ends it should this process be killed.
            process_group=0,
        )
        try:
            answer = self._ask({"op": "load", **load})
        except BaseException:
            self.close()
            raise
        self.version: str = answer["version"]
        #: What it multiplies in and how it keeps weights.
        self.computes: str = answer["computes"]

    @property
    def age_s(self) -> float:
        """Seconds since the process was started."""
        return time.perf_counter() - self._started

    def generate(self, prompts: list[list[int]], new_tokens: int) -> tuple[float, list[list[int]]]:
        """Seconds that the peer measured, and the tokens.

        :raises PeerError: it ended, or answered with too few tokens.
        """
        answer = self._ask({"op": "generate", "prompts": prompts, "new_tokens": new_tokens})
        tokens: list[list[int]] = answer["tokens"]
        counts = [len(row) for row in tokens]
        if counts != [new_tokens] * len(prompts):
            raise PeerError(f"asked for {len(prompts)} x {new_tokens} tokens, got {counts}")
        return float(answer["seconds"]), tokens

    def follow(self, arrivals: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
        """Serve a trace; for each request, seconds from its begin to first and last token.

        :param arrivals: the fields of :class:`.child.Arrival`.
        :raises PeerError: it ended.
        """
        times = self._ask({"op": "follow", "arrivals": list(arrivals)})["times"]
        return [(float(first), float(last)) for first, last in times]

    def peak_rss_bytes(self) -> int:
        """Most memory that it had resident."""
        return int(self._ask({"op": "rss"})["bytes"])

    def close(self) -> None:
        """End it. May be called twice."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # what it had not read yet is lost with it

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None, "stdin is a pipe"
        assert self._process.stdout is not None, "stdout is a pipe"
        patience = threading.Timer(self._limit_s, self._signal, [signal.SIGKILL])
        patience.daemon = True
        self._signal(signal.SIGCONT)
        began = time.perf_counter()
        patience.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            patience.cancel()
        if not line:
            if time.perf_counter() - began >= self._limit_s:
                raise PeerError(f"no answer to {request['op']!r} in {self._limit_s:g} s")
            code = self._process.wait()
            self._errors.seek(0)
            words = self._errors.read().strip()[-_LAST_WORDS:]
            raise PeerError(f"it ended with exit code {code}: {words}")
        self._signal(signal.SIGSTOP)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _signal(self, number: signal.Signals) -> None:
        """To the peer and to what it started; to nobody once it has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _environment() -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(_THREAD_SETTINGS)
    }
    return {**kept, "TOKENIZERS_PARALLELISM": "false"}
