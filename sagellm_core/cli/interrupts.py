"""Ctrl-C: one KeyboardInterrupt that nothing on its way can lose, and a quiet end."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import Any, NoReturn

from . import exit_codes


class Interrupts:
    """Notes each Ctrl-C, because KeyboardInterrupt alone gets lost.

    Python drops it in destructors and weak-reference callbacks, of which the import system has
    some, and a C extension that is being imported may turn it into an ImportError.
    """

    __slots__ = ("pending",)

    def __init__(self) -> None:
        #: Whether Ctrl-C was pressed and not dealt with.
        self.pending = False

    def install(self) -> None:
        """Take over SIGINT, unless the parent process had it ignored (nohup, ``cmd &``)."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return
        signal.signal(signal.SIGINT, self._raise)
        signal.signal(signal.SIGALRM, self._raise)
        # The interpreter's last steps restore the default, death by signal, for all handlers but
        # this. It is the last exit function to run, so nothing that can hang comes after it.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
        sys.unraisablehook = self._unraisable

    def check(self) -> None:
        """Raise the interrupt that someone swallowed, if any."""
        if self.pending:
            raise KeyboardInterrupt

    def dealt_with(self) -> None:
        """Go on as if nothing had been pressed."""
        self.pending = False

    def exit(self, code: int = exit_codes.INTERRUPTED) -> NoReturn:
        """End the process here and now, with what was written so far.

        The interpreter's own way out joins threads and runs destructors, and a second Ctrl-C in
        there prints a traceback.
        """
        self.expect_exit()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                continue
        os._exit(code)

    def expect_exit(self) -> None:
        """From here on, Ctrl-C ends the process without a word."""
        if signal.getsignal(signal.SIGINT) == self._raise:
            signal.signal(signal.SIGINT, lambda *_: os._exit(exit_codes.INTERRUPTED))

    def _raise(self, *_: Any) -> None:
        self.pending = True
        raise KeyboardInterrupt

    def _unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # Dropped in a place that cannot raise: raise it again a moment later.
            signal.setitimer(signal.ITIMER_REAL, 0.005)
        elif not self.pending:  # what a Ctrl-C left half done is nobody's news
            sys.__unraisablehook__(unraisable)
