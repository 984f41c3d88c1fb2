"""A progress bar on stderr, where a person is looking."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

_WIDTH = 30
_SECONDS_BETWEEN = 0.1


class ProgressBar:
    """A context manager that is also a ``ProgressCallback``; silent where stderr is no terminal.

    The bar stands on one line and is gone when the block ends.
    """

    def __init__(self) -> None:
        self._visible = sys.stderr is not None and sys.stderr.isatty()
        # Downloads report from several threads.
        self._lock = threading.Lock()
        self._drawn = 0
        self._stage = ""
        self._next = 0.0

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            if self._drawn:
                sys.stderr.write("\r" + " " * self._drawn + "\r")
                sys.stderr.flush()
            self._visible = False

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Draw the bar, at most ten times a second and at each change of stage."""
        if not self._visible:
            return
        with self._lock:
            now = time.monotonic()
            if stage == self._stage and now < self._next:
                return
            self._stage, self._next = stage, now + _SECONDS_BETWEEN
            line = progress_line(stage, done, total)
            sys.stderr.write("\r" + line.ljust(self._drawn))
            sys.stderr.flush()
            self._drawn = len(line)


def progress_line(stage: str, done: int, total: int) -> str:
    """One line of text: a bar and a percentage where the total is known."""
    label = stage if len(stage) <= 40 else stage[:37] + "..."
    if total <= 0:
        return f"{label} ..."
    share = min(max(done / total, 0.0), 1.0)
    filled = int(share * _WIDTH)
    return f"{label} [{'#' * filled}{'.' * (_WIDTH - filled)}] {share:4.0%}"
