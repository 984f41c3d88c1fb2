"""What every test of the repository relies on."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_reaches_children() -> None:
    # A shell starts background jobs with SIGINT ignored, and children inherit that: tests that
    # interrupt a process would wait for it for ever.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
