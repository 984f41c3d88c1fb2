"""A child process that answers one request, in a process group of its own.

Nothing here knows plugins: bytes go in on stdin, lines come back on a descriptor of their own,
and whatever the child and its descendants are doing ends with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

#: Bytes of stdout and of stderr that are kept: their ends.
OUTPUT_KEPT = 8192
#: Bytes of reply beyond which a child is talking nonsense.
REPLY_LIMIT = 4 * 1024 * 1024
#: Seconds between two looks at whether a silent child has died.
_POLL = 0.05
_POLL_SOON = 0.005
#: Seconds that a killed child has to go; one stuck in a driver cannot be killed at all.
_REAP = 2.0
#: The reply's descriptor is kept clear of 0 to 2, which the child's own streams will be.
_FIRST_FD = 3


class ChildProcess:
    """Python running ``code`` with the reply's descriptor as its argument.

    :param request: what the child reads from its stdin.
    :param hear: called with each line of the reply; returns whether it was the last.
    :raises OSError: the process could not be started.
    """

    def __init__(
        self,
        code: str,
        request: bytes,
        env: Mapping[str, str],
        hear: Callable[[bytes], bool],
    ) -> None:
        #: Nothing more is to be expected.
        self.over = False
        #: Exit status as in :attr:`subprocess.Popen.returncode`, where the child left of itself.
        self.status: int | None = None
        #: It left, or was seen to have left, without being told to.
        self.left = False
        #: It could not be killed.
        self.stuck = False
        self.overflow = False
        self.output = b""
        self.errors = b""
        self._hear = hear
        self._request = request
        self._line = b""
        self._heard = 0
        self._reply_closed = False
        self._attached: set[int] = set()
        read_end, low_end = os.pipe()
        try:
            write_end = fcntl.fcntl(low_end, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD)
        finally:
            os.close(low_end)
        try:
            self._process = subprocess.Popen(
                [sys.executable, *_interpreter_flags(), "-c", code, str(write_end)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(write_end,),
                start_new_session=True,
                env=dict(env),
                bufsize=0,
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self._reply = read_end
        self._stdin, self._stdout, self._stderr = stdin.fileno(), stdout.fileno(), stderr.fileno()
        for fd in (self._reply, self._stdin, self._stdout, self._stderr):
            os.set_blocking(fd, False)

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Have the selector call back whenever there is something to read or write."""
        self._selector = selector
        self._attached = {self._stdin, self._reply, self._stdout, self._stderr}
        selector.register(self._stdin, selectors.EVENT_WRITE, self._write)
        for fd, read in (
            (self._reply, self._read_reply),
            (self._stdout, self._read_output),
            (self._stderr, self._read_errors),
        ):
            selector.register(fd, selectors.EVENT_READ, read)

    def look(self) -> None:
        """Notice that the child died, even while a descendant keeps its pipes open."""
        if not self.over and self._has_left():
            # What it said last is still in the pipes.
            self._drain()
            self.left = not self.over
            self.over = True

    @property
    def hung_up(self) -> bool:
        """Whether the reply ended but the child has not been seen to leave."""
        return self._reply_closed and not self.over

    def kill(self) -> None:
        """End the child and everything it started. May be called twice before :meth:`reap`."""
        self.look()
        self.over = True
        for fd in (self._stdin, self._reply, self._stdout, self._stderr):
            self._detach(fd)
        # Always, even if the child is gone: its descendants are in the group. The child has not
        # been reaped, so the group's number cannot have been given to anyone else.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Wait for the killed child and close its pipes."""
        try:
            self._process.wait(_REAP)
        except subprocess.TimeoutExpired:
            self.stuck = True
        for fd, read in ((self._stdout, self._read_output), (self._stderr, self._read_errors)):
            _read_all(fd, read)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
        os.close(self._reply)

    def _has_left(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            self.status = self._process.poll()
            return self.status is not None
        try:
            result = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True  # Someone else reaped it: SIGCHLD is ignored in this process.
        if result is None:
            return False
        natural = result.si_code == os.CLD_EXITED
        self.status = result.si_status if natural else -result.si_status
        return True

    def _drain(self) -> None:
        for fd, read in (
            (self._reply, self._read_reply),
            (self._stdout, self._read_output),
            (self._stderr, self._read_errors),
        ):
            _read_all(fd, read)

    def _write(self) -> bool:
        try:
            self._request = self._request[os.write(self._stdin, self._request) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self._request = b""
        if self._request:
            return True
        self._detach(self._stdin)
        assert self._process.stdin is not None
        self._process.stdin.close()
        return False

    def _read_reply(self) -> bool:
        data = self._read(self._reply)
        if data is None:
            return False
        if not data:
            self._reply_closed = True
            return False
        self._heard += len(data)
        if self._heard > REPLY_LIMIT:
            self.overflow = True
            self.over = True
            return False
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if self._hear(line):
                self.over = True
                return False
        return True

    def _read_output(self) -> bool:
        data = self._read(self._stdout)
        self.output = (self.output + (data or b""))[-OUTPUT_KEPT:]
        return bool(data)

    def _read_errors(self) -> bool:
        data = self._read(self._stderr)
        self.errors = (self.errors + (data or b""))[-OUTPUT_KEPT:]
        return bool(data)

    def _read(self, fd: int) -> bytes | None:
        """What is there; ``b""`` at the end; ``None`` when there is nothing for now."""
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return None
        if not data:
            self._detach(fd)
        return data

    def _detach(self, fd: int) -> None:
        if fd in self._attached:
            self._attached.remove(fd)
            with contextlib.suppress(KeyError, ValueError):  # The selector is closed already.
                self._selector.unregister(fd)


def converse(children: Sequence[ChildProcess], deadline: float) -> None:
    """Let the children speak until each is over or the deadline is there.

    :param deadline: on the clock of :func:`time.monotonic`.
    """
    with selectors.DefaultSelector() as selector:
        for child in children:
            child.attach(selector)
        while pending := [child for child in children if not child.over]:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            soon = any(child.hung_up for child in pending)
            for key, _ in selector.select(min(remaining, _POLL_SOON if soon else _POLL)):
                key.data()
            for child in pending:
                child.look()
                if child.over:
                    # At once, so that it neither speaks on nor takes time from the others.
                    child.kill()


def _read_all(fd: int, read: Callable[[], bool]) -> None:
    # Bounded: a descendant may be writing without end.
    for _ in range(64):
        if not read():
            return


def _interpreter_flags() -> list[str]:
    """Flags that make the child's Python look for modules the way this one does."""
    flags = ["-P"]  # No current directory before the standard library.
    if sys.flags.isolated:
        flags.append("-I")
    else:
        flags += ["-E"] * sys.flags.ignore_environment
        flags += ["-s"] * sys.flags.no_user_site
    flags += ["-B"] * sys.flags.dont_write_bytecode
    return flags
