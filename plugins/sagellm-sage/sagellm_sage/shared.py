"""One loaded model for all operators of a process that need the same one.

SAGE makes several objects of one operator: isage 0.3 constructs each twice, and both runtimes
make as many as ``parallelism`` says. Each with a model of its own would multiply the memory;
sharing one lets its engine compute their items together.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from sagellm_core.contract import EngineClosedError, ProgressCallback, SageLLMError

C = TypeVar("C")
T = TypeVar("T")


class _Shared(Generic[T]):
    """What is opened once. Leases keep it alive; without any it is closed."""

    def __init__(
        self,
        key: str,
        open_: Callable[[ProgressCallback | None], T],
        close: Callable[[T], None],
    ) -> None:
        self.key = key
        self.leases: weakref.WeakSet[Lease[Any, T]] = weakref.WeakSet()
        self.ended = False
        self._open = open_
        self._close = close
        self._lock = threading.Lock()
        self._value: T | None = None
        self._failure: SageLLMError | None = None

    def get(self, on_progress: ProgressCallback | None) -> T:
        with self._lock:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if self._value is None:
                try:
                    self._value = self._open(on_progress)
                except SageLLMError as error:
                    # A pipeline calls once per item. What failed for good fails at once for the
                    # rest of them; new operators try again.
                    if not error.retryable:
                        self._failure = error
                        _forget(self)
                    raise
            return self._value

    def close(self) -> bool:
        with self._lock:
            value, self._value = self._value, None
            self.ended = True
        if value is None:
            return False
        self._close(value)
        return True


_pool: weakref.WeakValueDictionary[str, _Shared[Any]] = weakref.WeakValueDictionary()
_pool_lock = threading.Lock()


class Lease(Generic[C, T]):
    """One operator's hold on what it may share with others.

    A lease that is dropped closes nothing: what is shared then ends with its last reference.

    :param key: of a configuration; operators with equal keys share.
    :param open_: opens what a configuration says; it gets a progress callback or ``None``.
    :param close: closes it.
    """

    def __init__(
        self,
        key: Callable[[C], str],
        open_: Callable[[C, ProgressCallback | None], T],
        close: Callable[[T], None],
    ) -> None:
        self._key = key
        self._open = open_
        self._close = close
        self._config: C | None = None
        self._shared: _Shared[T] | None = None
        self._ended = False

    def get(self, config: C, on_progress: ProgressCallback | None = None) -> T:
        """What ``config`` says, opened by whoever asks first.

        :raises EngineClosedError: the lease has ended.
        :raises SageLLMError: it cannot be opened. This lease keeps saying so without another
            try, unless the error is retryable.
        """
        return self._joined(config).get(on_progress)

    def end(self) -> None:
        """Give the hold back; the last one closes what it held. May be called twice.

        :raises RunnerError: the provider failed on closing it.
        """
        with _pool_lock:
            self._ended = True
            left = self._leave()
        if left is not None:
            left.close()

    def _joined(self, config: C) -> _Shared[T]:
        with _pool_lock:
            shared = self._current(config)
        if shared is not None:
            return shared
        key = self._key(config)
        with _pool_lock:
            # Once more: isage 0.3 calls one operator from several threads, and the second must
            # find what the first has joined meanwhile, not leave it.
            shared = self._current(config)
            if shared is not None:
                return shared
            left = self._leave()
            found: _Shared[T] | None = _pool.get(key)
            if found is None or found.ended:
                found = _Shared(key, partial(self._open, config), self._close)
                _pool[key] = found
            found.leases.add(self)
            self._shared, self._config = found, config
        if left is not None:
            left.close()
        return found

    def _current(self, config: C) -> _Shared[T] | None:
        """What is held for ``config`` already. The pool is locked."""
        if self._ended:
            raise EngineClosedError("The operator was shut down.", hint="Make a new one.")
        shared = self._shared
        # A checkpoint that was restored may have put another configuration in place.
        if shared is not None and not shared.ended and self._config is config:
            return shared
        return None

    def _leave(self) -> _Shared[T] | None:
        """What nobody holds any more. The pool is locked."""
        shared = self._shared
        self._shared = None
        self._config = None
        if shared is None:
            return None
        shared.leases.discard(self)
        if shared.leases:
            return None
        key = shared.key
        if _pool.get(key) is shared:
            del _pool[key]
        return shared


def release_models() -> int:
    """Give back the memory of every model that operators of this process have loaded.

    isage 0.3 keeps the operators of a finished job, and so their models, until the process ends
    or the job is deleted. Requests under way end with an error; an operator that is used again
    loads again.

    :returns: how many models were closed.
    :raises EngineError: one could not be closed; the others are.
    """
    with _pool_lock:
        shared = list(_pool.values())
        _pool.clear()
    failure: SageLLMError | None = None
    closed = 0
    for each in shared:
        try:
            closed += each.close()
        except SageLLMError as error:
            failure = error
    if failure is not None:
        raise failure
    return closed


def sharing_key(kind: str, values: Mapping[str, Any]) -> str:
    """A key that is equal where one loaded model serves both.

    :param kind: what is opened.
    :param values: what it is opened with.
    """
    values = dict(values)
    path = values.get("model_path")
    if path and Path(path).exists():
        # The same words mean another model after a change of directory.
        values["model_path"] = str(Path(path).absolute())
    # Providers and models are also chosen by variables, which are read when a model is loaded.
    environment = {key: value for key, value in os.environ.items() if key.startswith("SAGELLM_")}
    return json.dumps([kind, values, environment], sort_keys=True, default=repr)


def _forget(shared: _Shared[Any]) -> None:
    with _pool_lock:
        if _pool.get(shared.key) is shared:
            del _pool[shared.key]
