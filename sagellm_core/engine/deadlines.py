"""Which requests have run out of time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from .request import RequestState


class Deadlines:
    """Deadlines of requests, soonest first; asking costs nothing until one has passed."""

    __slots__ = ("_heap", "_live")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, RequestState]] = []
        self._live = 0

    def __bool__(self) -> bool:
        return bool(self._heap)

    def add(self, state: RequestState) -> None:
        """Watch a request; one without a deadline is not watched."""
        if state.deadline is not None:
            heapq.heappush(self._heap, (state.deadline, state.number, state))
            self._live += 1

    def forget(self, state: RequestState) -> None:
        """Note that a request has ended. It is skipped when its time comes."""
        if state.deadline is None:
            return
        self._live -= 1
        if len(self._heap) > 2 * self._live + 64:
            # Ended requests would otherwise be kept until their deadline, hours perhaps.
            self._heap = [entry for entry in self._heap if not entry[2].ended]
            heapq.heapify(self._heap)

    def passed(self, now: float) -> Iterator[RequestState]:
        """Requests still under way whose deadline is before ``now``; each once."""
        while self._heap and self._heap[0][0] <= now:
            state = heapq.heappop(self._heap)[2]
            if not state.ended:
                yield state
