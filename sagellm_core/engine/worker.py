"""The thread of an engine, and the order in which things are given back."""

from __future__ import annotations

import logging
import threading

from sagellm_core.contract import EngineClosedError, LoadedModel, Runner, SageLLMError

from .closing import closing
from .loop import EngineLoop
from .process import HomeProcess

_log = logging.getLogger("sagellm.engine")


class Worker:
    """Runs a loop in a daemon thread, and closes runner and model after it.

    :param model: closed after the runner; ``None`` to leave it open.
    """

    def __init__(self, loop: EngineLoop, runner: Runner, model: LoadedModel | None) -> None:
        self._loop = loop
        self._runner = runner
        self._model = model
        self._lock = threading.RLock()
        self._done = threading.Event()
        self._failure: SageLLMError | None = None
        self._home = HomeProcess()
        #: ``None`` until the first request, and where none came before the end.
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self.thread is None:
            with self._lock:
                if self.thread is None and not self._done.is_set():
                    thread = threading.Thread(target=self._run, name="sagellm-engine", daemon=True)
                    try:
                        thread.start()
                    except RuntimeError as error:
                        closed = EngineClosedError(
                            f"The engine's thread could not be started: {error}.",
                            hint="The interpreter is exiting, or the system is out of threads.",
                        )
                        closed.__cause__ = error
                        self.stop(closed)
                    else:
                        self.thread = thread

    def stop(self, why: EngineClosedError) -> None:
        """Have it end soon; does not wait. May be called twice, and from any thread."""
        if self._home.left:
            return
        self._loop.stop(why)
        with self._lock:
            if self.thread is not None or self._done.is_set():
                return
            self._done.set()
        self._loop.end_all()
        self._give_back()

    def join(self, timeout: float) -> bool:
        """Wait for the end, unless called from the thread itself or from a forked child.

        :returns: whether there is nothing left to wait for.
        """
        if self.thread is threading.current_thread() or self._home.left:
            return True
        return self._done.wait(timeout)

    def raise_failure(self) -> None:
        """Raise what went wrong on giving the memory back, once.

        :raises RunnerError: the provider's own exception is its cause.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            self._loop.run()
            self._give_back()
        finally:
            self._done.set()

    def _give_back(self) -> None:
        for what, part in (("runner", self._runner), ("model", self._model)):
            if part is None:
                continue
            try:
                with closing(what):
                    part.close()
            except SageLLMError as error:
                _log.exception("closing the provider's %s failed", what)
                if self._loop.device_lost:
                    continue  # nothing else was to be expected, and it was said before
                self._failure = error
