"""Recording with the graphs of a torch device module."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch


class Graph(Protocol):
    """A graph of a device: what torch's graph classes have in common."""

    def replay(self) -> None:
        """Launch all of it."""
        ...


class GraphRecorder:
    """Records computations as graphs, until they have taken so much memory.

    :param new_graph: makes an empty graph.
    :param recording: a context: what is queued within goes into the graph, and is not run.
    :param limit: bytes that all graphs together may take.
    """

    def __init__(
        self,
        device: torch.device,
        new_graph: Callable[[], Graph],
        recording: Callable[[Any], AbstractContextManager[Any]],
        limit: int,
    ) -> None:
        self._module = torch.get_device_module(device)
        self._device = device
        self._new_graph = new_graph
        self._recording = recording
        self._limit = limit
        self._taken = 0

    @property
    def room(self) -> bool:
        """Whether the limit is not reached."""
        return self._taken < self._limit

    def record(self, compute: Callable[[], None]) -> Graph:
        """Run a computation once on a stream of its own, and record it.

        :raises RuntimeError: the device or an operator does not let itself be recorded.
        """
        self._module.empty_cache()
        before = self._free()
        # Libraries set themselves up when they are first called on a stream, which must not
        # become part of a graph.
        side = self._module.Stream(self._device)
        main = self._module.current_stream(self._device)
        side.wait_stream(main)
        with self._module.stream(side):
            compute()
        main.wait_stream(side)
        graph = self._new_graph()
        with self._recording(graph):
            compute()
        self._module.empty_cache()
        self._taken += max(0, before - self._free())
        return graph

    def _free(self) -> int:
        # What the driver says: torch takes a graph's memory for free, which nobody else can use.
        free: int = self._module.mem_get_info(self._device)[0]
        return free
