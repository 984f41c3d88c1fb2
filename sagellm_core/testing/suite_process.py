"""pytest in a process of its own, watched: where it dies or hangs, the test is known."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .groups import OWN
from .result import CheckResult, Outcome

#: Seconds that collecting the tests may take.
_COLLECTION_PATIENCE = 120.0
#: Most seconds that a test may take beyond the limits of its setup and of itself, which end it
#: with a better sentence where they can.
_GRACE = 10.0
_POLL = 0.02
_LAST_LINES = 15
#: How faulthandler begins.
_CRASH = "Fatal Python error"
#: Exit codes of pytest: all passed, some failed, none selected.
_GOOD_ENDS = (0, 1, 5)
#: And: its arguments are wrong.
_USAGE = 4
#: Stands for the end of a process in which every test was over.
_LAST: Mapping[str, Any] = {"id": "TestProcess::test_it_ends_well", "group": OWN, "proves": []}


@dataclass(slots=True)
class Transcript:
    """What the processes of one run told, in order."""

    results: list[CheckResult] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    declaration: dict[str, Any] | None = None
    xfails: Path | None = None
    #: All tests that are to run, each as ``id``, ``group`` and ``proves``.
    tests: list[dict[str, Any]] = field(default_factory=list)
    #: The one under way.
    current: dict[str, Any] | None = None
    #: What the last process printed.
    output: str = ""
    #: Whether the last process ended as pytest does after tests, or without any.
    ended_well: bool = False


class SuiteProcess:
    """One pytest process.

    :param arguments: for pytest.
    :param place: a directory for the record.
    :param transcript: what is heard goes there.
    :param progress: called whenever something was heard.
    :param env: the process's environment.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        place: Path,
        transcript: Transcript,
        progress: Callable[[Transcript], None],
        env: Mapping[str, str],
    ) -> None:
        self._record = place / "record.jsonl"
        self._record.write_text("")
        self._printed = place / "output.txt"
        self._transcript = transcript
        self._progress = progress
        self._read = 0
        self._since = time.monotonic()
        self._hung = False
        done = place / "done.txt"
        done.write_text("".join(f"{each.id}\n" for each in transcript.results), encoding="utf-8")
        options = ["--sagellm-record", str(self._record), "--sagellm-done", str(done)]
        with self._printed.open("wb") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _bootstrap(), *arguments, *options],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=env,
            )

    def run(self) -> None:
        """Wait for the end; a test in which the process died or hung becomes a result."""
        try:
            while self._process.poll() is None:
                self._hear()
                self._hung = time.monotonic() - self._since > self._patience
                if self._hung:
                    break
                time.sleep(_POLL)
        finally:
            self._end()
        self._hear()
        self._transcript.output = self._last_lines()
        self._conclude()

    @property
    def _patience(self) -> float:
        declaration = self._transcript.declaration
        if declaration is None or self._transcript.current is None:
            return _COLLECTION_PATIENCE
        limit = float(declaration["time_limit"])
        return 2 * limit + min(_GRACE, limit)

    def _end(self) -> None:
        # The whole group, always: what the plugin started must not outlive the run.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _hear(self) -> None:
        for line in self._lines():
            self._since = time.monotonic()
            self._take(json.loads(line))
            self._progress(self._transcript)

    def _lines(self) -> Iterator[bytes]:
        with self._record.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole, newline, _ = data.rpartition(b"\n")
        self._read += len(whole) + len(newline)
        yield from whole.splitlines()

    def _take(self, event: dict[str, Any]) -> None:
        transcript = self._transcript
        match event["kind"]:
            case "declared":
                transcript.declaration = event["declaration"]
                transcript.xfails = None if event["xfails"] is None else Path(event["xfails"])
                transcript.tests = transcript.tests or event["tests"]
            case "begun":
                transcript.current = event["test"]
            case "over":
                transcript.current = None
                transcript.results.append(CheckResult.from_dict(event["result"]))
            case "problem":
                transcript.problems.append(event["text"])

    def _conclude(self) -> None:
        """Make a result of the test in which the process ended, or of a bad end after the last."""
        transcript = self._transcript
        current, transcript.current = transcript.current, None
        code = self._process.returncode
        transcript.ended_well = code in _GOOD_ENDS
        if current is None and (transcript.declaration is None or transcript.ended_well):
            return
        if current is None and code == _USAGE and not transcript.results:
            transcript.problems.append(transcript.output)
            return
        seconds = time.monotonic() - self._since
        if self._hung:
            reason = f"did not end within {seconds:.0f} s, and was ended"
        elif code < 0:
            reason = f"was killed by {_signal_name(-code)}"
        else:
            reason = f"left with code {code}"
        where = "in this test" if current is not None else "after the last test"
        sentence = f"The process {reason} {where}."
        if transcript.output:
            sentence += f" Its last words:\n{transcript.output}"
        transcript.results.append(failed(current or _LAST, sentence, seconds))

    def _last_lines(self) -> str:
        lines = self._printed.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        for number, line in enumerate(lines):
            if _CRASH in line:  # its traceback has the innermost frame first
                return "\n".join(lines[number : number + _LAST_LINES])
        return "\n".join(lines[-_LAST_LINES:])


def failed(test: Mapping[str, Any], reason: str, seconds: float = 0.0) -> CheckResult:
    """The result of a test whose process cannot tell it."""
    return CheckResult(
        id=test["id"],
        group=test["group"],
        outcome=Outcome.FAILED,
        reason=reason,
        seconds=seconds,
        proves=tuple(test["proves"]),
    )


def _bootstrap() -> str:
    """pytest, with modules found where we find them."""
    places = [place for place in sys.path if place]
    return (
        f"import sys; sys.path[:] = {places!r}\nimport pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
