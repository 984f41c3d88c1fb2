"""Copies between the host and a device with streams, by a module that notes what was asked."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from sagellm_torch.streams import StreamAdapter


class _Stream:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self._log = log

    def wait_stream(self, other: _Stream) -> None:
        self._log.append(f"{self.name} waits for {other.name}")


class _Module:
    """Stands in for a torch device module."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self._main = _Stream("main", self.log)
        self._now = self._main

    def Stream(self, device: torch.device) -> _Stream:
        return _Stream("side", self.log)

    def Event(self) -> SimpleNamespace:
        return SimpleNamespace(
            record=lambda: self.log.append(f"event on {self._now.name}"),
            synchronize=lambda: self.log.append("host waits for the event"),
        )

    def current_stream(self, device: torch.device) -> _Stream:
        return self._now

    @contextmanager
    def stream(self, stream: _Stream):
        before, self._now = self._now, stream
        yield
        self._now = before

    def mem_get_info(self, device: torch.device) -> tuple[int, int]:
        return 100, 1000

    def memory_reserved(self, device: torch.device) -> int:
        return 70

    def memory_allocated(self, device: torch.device) -> int:
        return 50

    def synchronize(self, device: torch.device) -> None:
        self.log.append("host waits for the device")

    def empty_cache(self) -> None:
        self.log.append("cache emptied")


class _Adapter(StreamAdapter):
    pins_memory = False

    def __init__(self) -> None:
        super().__init__("cpu")
        self.fake = _Module()

    @property
    def module(self) -> _Module:
        return self.fake


class _Noting(torch.Tensor):
    """A tensor that notes which streams hold its memory."""

    held_by: list[str]

    def record_stream(self, stream: _Stream) -> None:
        self.held_by.append(stream.name)


@pytest.fixture
def adapter() -> _Adapter:
    return _Adapter()


def _noting(values: list[int]) -> _Noting:
    tensor = torch.tensor(values).as_subclass(_Noting)
    tensor.held_by = []
    return tensor


def test_results_come_by_a_stream_of_their_own(adapter) -> None:
    tokens = _noting([3, 1, 4])
    wait = adapter.download([tokens])
    # Behind what was queued, on the side; the host has waited for nothing.
    assert adapter.fake.log == ["side waits for main", "event on side"]
    assert tokens.held_by == ["side"]
    assert [copy.tolist() for copy in wait()] == [[3, 1, 4]]
    assert adapter.fake.log[2:] == ["host waits for the event"]


def test_all_results_share_the_stream(adapter) -> None:
    first, second = adapter.download([_noting([1])]), adapter.download([_noting([2])])
    assert [copy.tolist() for copy in second()] == [[2]]
    assert [copy.tolist() for copy in first()] == [[1]]
    assert "host waits for the device" not in adapter.fake.log


def test_what_comes_is_a_copy(adapter) -> None:
    tokens = _noting([5])
    wait = adapter.download([tokens])
    tokens.fill_(6)
    assert wait()[0].tolist() == [5]


def test_free_memory_counts_what_torch_keeps_unused(adapter) -> None:
    memory = adapter.memory()
    assert (memory.total, memory.free) == (1000, 120)


def test_closing_gives_torchs_memory_back(adapter) -> None:
    adapter.release()
    assert adapter.fake.log == ["cache emptied"]
