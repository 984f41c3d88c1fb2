"""A side of the comparison, seen from the process that measures."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent


def _command(python: str, module: str, model: Path, threads: int, *rest: str) -> list[str]:
    return [python, "-m", f"benchmarks.{module}", str(model), str(threads), *rest]


def first_vector_seconds(
    python: str, module: str, model: Path, environment: Mapping[str, str] | None = None
) -> float:
    """Seconds from the start of a fresh process until it has the vector of one text.

    :raises RuntimeError: it ended without; its error output is in the message.
    """
    command = _command(python, module, model, 0, "The quick brown fox.")
    begin = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=_ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None, "stdout is a pipe"
        first = os.read(process.stdout.fileno(), 1)
        seconds = time.perf_counter() - begin
        _, errors = process.communicate()
    if not first or process.returncode:
        raise RuntimeError(f"{module} failed: {errors.decode(errors='replace').strip()}")
    return seconds


class Side:
    """A process that embeds what it is told to. Use it as a context manager.

    :raises RuntimeError: it did not start; its error output is in the message.
    """

    def __init__(
        self,
        python: str,
        module: str,
        model: Path,
        threads: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # A file: a full pipe that nobody reads would stop the process.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            _command(python, module, model, threads),
            cwd=_ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        hello = self._answer()
        self.name: str = hello["name"]
        self.version: str = hello["version"]

    def embed(self, texts: list[str], save: Path | None = None) -> float:
        """Seconds it took; the vectors go to ``save`` as a .npy file."""
        request: dict[str, Any] = {"texts": texts}
        if save is not None:
            request["save"] = str(save)
        assert self._process.stdin is not None, "stdin is a pipe"
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None, "stdout is a pipe"
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            self._errors.seek(0)
            raise RuntimeError(f"A side failed: {self._errors.read().strip()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()  # closes its input, on which it ends
        self._errors.close()
