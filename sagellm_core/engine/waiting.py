"""The queue of requests that wait for a slot."""

from __future__ import annotations

import heapq

from .request import RequestState


class WaitingQueue:
    """Requests by priority, then by arrival.

    A request that ended while waiting is left where it is and skipped when it comes up: so
    ending one costs nothing, however long the queue.
    """

    __slots__ = ("_heap", "_live")

    def __init__(self) -> None:
        self._heap: list[RequestState] = []
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def push(self, state: RequestState) -> None:
        """Add a request, at the place its priority and arrival give it."""
        heapq.heappush(self._heap, state)
        self._live += 1

    def forget(self) -> None:
        """Note that one of the requests in the queue has ended."""
        self._live -= 1
        if len(self._heap) > 2 * self._live + 64:
            self._heap = [state for state in self._heap if not state.ended]
            heapq.heapify(self._heap)

    def head(self) -> RequestState | None:
        """The next request, or ``None``."""
        heap = self._heap
        while heap and heap[0].ended:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def pop(self) -> RequestState:
        """Take the next request out. The queue must have one."""
        state = self.head()
        assert state is not None
        heapq.heappop(self._heap)
        self._live -= 1
        return state
