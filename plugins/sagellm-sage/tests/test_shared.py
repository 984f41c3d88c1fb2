"""Leases on what operators share."""

from __future__ import annotations

import threading
import time

import pytest
from sagellm_sage.shared import Lease

from sagellm_core.contract import EngineClosedError


class _Thing:
    def __init__(self) -> None:
        self.closed = False


def _lease(opened: list[_Thing]) -> Lease[object, _Thing]:
    def key(config: object) -> str:
        time.sleep(0.01)  # so that all threads are past their first look when one has joined
        return f"test {id(config)}"

    def open_(config: object, on_progress: object) -> _Thing:
        opened.append(_Thing())
        return opened[-1]

    def close(thing: _Thing) -> None:
        thing.closed = True

    return Lease(key, open_, close)


def test_threads_that_call_one_operator_at_once_get_one_thing_that_stays_open() -> None:
    opened: list[_Thing] = []
    lease = _lease(opened)
    config, start, got = object(), threading.Barrier(8), []

    def use() -> None:
        start.wait()
        got.append(lease.get(config))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
    assert got == opened * 8
    assert not opened[0].closed
    lease.end()
    assert opened[0].closed


def test_another_configuration_leaves_the_first() -> None:
    opened: list[_Thing] = []
    lease = _lease(opened)
    first, second = object(), object()
    lease.get(first)
    assert lease.get(second) is opened[1]
    assert [each.closed for each in opened] == [True, False]
    lease.end()
    with pytest.raises(EngineClosedError):
        lease.get(second)
