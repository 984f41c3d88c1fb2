"""No test runs for ever."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from .finding import fail


@contextlib.contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """End the block with a failure after ``seconds``, where signals can do that.

    Code that never comes back to Python cannot be ended from inside; ``sagellm conformance`` ends
    its process.

    :param what: what did not end, for the sentence.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: FrameType | None) -> None:
        fail(f"{what} did not end within {seconds:g} s{_place(frame)}.")

    began = time.monotonic()
    former = signal.signal(signal.SIGALRM, over)
    # pytest-timeout may have set the same timer for the whole test: it goes on afterwards.
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, former)
        if left:
            remaining = left - (time.monotonic() - began)
            signal.setitimer(signal.ITIMER_REAL, max(remaining, 0.001), interval)


def _place(frame: FrameType | None) -> str:
    """Where it hung: the innermost frame."""
    if frame is None:
        return ""
    code = frame.f_code
    return f" (in {code.co_name}, {code.co_filename}, line {frame.f_lineno})"
