"""A runner that fails where it is told to, over one that works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from sagellm_core.contract.errors import RunnerError
from sagellm_core.contract.runner import (
    DecodeRow,
    KVCapacity,
    PrefillRow,
    Runner,
    StepHandle,
    StepResult,
)


class When(StrEnum):
    """At which point of a call the trouble shows."""

    #: The runner under it never sees the call.
    BEFORE = "before"
    #: The call was computed, and raises all the same.
    AFTER = "after"
    #: The call was computed and its handle returned; reading that raises.
    RESULT = "result"


class FaultyRunner:
    """Implements :class:`~sagellm_core.contract.Runner` over another one.

    It never asks for steps ahead, whatever the other one does.

    :param plan: number of a call, prefills and decodes counted together from 1, to when it fails.
    :param error: makes the error.
    :param rows: calls of fewer rows are not counted.
    """

    def __init__(
        self,
        inner: Runner,
        plan: Mapping[int, When] | None = None,
        error: Callable[[], RunnerError] | None = None,
        rows: int = 1,
    ) -> None:
        self._inner = inner
        self._plan = dict(plan or {})
        self._error = error
        self._rows = rows
        self._calls = 0
        #: How many calls failed.
        self.failed = 0

    @property
    def capacity(self) -> KVCapacity:
        """The other's."""
        return self._inner.capacity

    @property
    def max_slots(self) -> int:
        """The other's."""
        return self._inner.max_slots

    def prefill(self, rows: Sequence[PrefillRow]) -> StepHandle:
        """As the other, but for the plan."""
        return self._call(self._inner.prefill, rows)

    def decode(self, rows: Sequence[DecodeRow]) -> StepHandle:
        """As the other, but for the plan."""
        return self._call(self._inner.decode, rows)

    def close(self) -> None:
        """Close the other."""
        self._inner.close()

    def _call(self, method: Callable[[Any], StepHandle], rows: Any) -> StepHandle:
        if len(rows) < self._rows:
            return method(rows)
        self._calls += 1
        when = self._plan.get(self._calls)
        if when is None or self._error is None:
            return method(rows)
        self.failed += 1
        if when is When.BEFORE:
            raise self._error()
        handle = method(rows)
        if when is When.AFTER:
            handle.result()
            raise self._error()
        return _FailingHandle(handle, self._error)


class _FailingHandle:
    def __init__(self, inner: StepHandle, error: Callable[[], RunnerError]) -> None:
        self._inner = inner
        self._error = error

    def result(self) -> StepResult:
        """Wait for the step, and fail."""
        self._inner.result()
        raise self._error()
