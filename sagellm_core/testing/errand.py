"""Errands: what the suite has a plugin do in a fresh process, where nothing can be harmed."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from sagellm_core.providers.process import ChildProcess, converse

from .finding import fail

_LAST_LINES = 12


class Errand:
    """Runs code in a child process, which answers with one line of JSON.

    :param code: what the child runs. Its stdin has the request, as JSON with ``path`` in it, the
        parent's ``sys.path``; its first argument is the descriptor that the answer goes to.
    :param request: more of the request.
    :param env: the child's environment; ``None``: this process's own.
    """

    def __init__(
        self, code: str, request: Mapping[str, Any], env: Mapping[str, str] | None = None
    ) -> None:
        self._answer: bytes | None = None
        text = json.dumps({"path": [str(place) for place in sys.path], **request})
        self._child = ChildProcess(
            code, text.encode("ascii"), os.environ if env is None else env, self._hear
        )

    def run(self, what: str, timeout: float) -> Any:
        """Wait for the answer; fails with a sentence where none comes.

        :param what: what the child does, for the sentence.
        """
        try:
            converse([self._child], time.monotonic() + timeout)
        finally:
            self._child.kill()
            self._child.reap()
        if self._answer is not None:
            return json.loads(self._answer)
        if self._child.left:
            status = self._child.status
            end = f"killed by signal {-status}" if status and status < 0 else f"left with {status}"
            fail(f"{what}: the process was {end}.{self._last_words()}")
        return fail(f"{what}: no answer within {timeout:g} s.{self._last_words()}")

    @property
    def output(self) -> str:
        """The ends of what it wrote to stdout and stderr."""
        return (self._child.output + self._child.errors).decode("utf-8", "replace")

    def _hear(self, line: bytes) -> bool:
        self._answer = line
        return True

    def _last_words(self) -> str:
        lines = self.output.strip().splitlines()[-_LAST_LINES:]
        return "" if not lines else " It wrote:\n" + "\n".join(lines)
