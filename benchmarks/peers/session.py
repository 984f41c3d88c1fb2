"""Several peers, loaded at once and asked in turn."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol

from .catalogue import Peer
from .launch import Launch
from .process import PeerError, PeerProcess

#: Threads of the peer before may spin for a while after their work; this long they are let.
_SETTLE_S = 0.25


class Row(Protocol):
    """Where what a peer did is noted."""

    name: str
    weights: str
    version: str
    computes: str
    failure: str
    peak_rss_bytes: int


def attempt(row: Row, action: Callable[[], None]) -> None:
    """Run it, unless the row failed before. A failure is noted in it."""
    if row.failure:
        return
    try:
        action()
    except (PeerError, OSError) as error:
        row.failure = str(error) or repr(error)
        say(f"{row.name} {row.weights}: {row.failure}")


def say(text: str) -> None:
    """Progress, beside the output."""
    print(text, file=sys.stderr, flush=True)


def not_measured(row: Row) -> str:
    """A line of the table for a row that failed: the last line of why, which is the error."""
    return f"{row.name:14}{row.weights:9}not measured: {row.failure.strip().splitlines()[-1]}"


class Session:
    """The processes of all peers. Use it as a context manager.

    Peers are opened one after the other; one that fails is noted in its row.
    """

    def __init__(
        self, peers: Sequence[Peer], rows: Sequence[Row], launch: Launch, load: dict[str, Any]
    ) -> None:
        self._stack = ExitStack()
        self._rows = rows
        self._processes: dict[int, PeerProcess] = {}
        try:
            for index, (peer, row) in enumerate(zip(peers, rows, strict=True)):
                attempt(row, lambda i=index, p=peer: self._enter(i, launch(p, load)))  # type: ignore[misc]
        except BaseException:
            self._stack.close()
            raise

    def _enter(self, index: int, process: PeerProcess) -> None:
        self._processes[index] = self._stack.enter_context(process)
        self._rows[index].version = process.version
        self._rows[index].computes = process.computes

    def each(self, action: Callable[[int, PeerProcess], None]) -> None:
        """Call it with the row's index and the process of each that has not failed."""
        for index, row in enumerate(self._rows):

            def run(index: int = index) -> None:
                time.sleep(_SETTLE_S)
                action(index, self._processes[index])

            attempt(row, run)

    def weigh(self) -> None:
        """Note the peak memory of each."""

        def note(index: int, process: PeerProcess) -> None:
            self._rows[index].peak_rss_bytes = process.peak_rss_bytes()

        self.each(note)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
