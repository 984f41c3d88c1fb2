"""One request, event by event."""

from __future__ import annotations

import contextlib
import queue
from types import TracebackType

from sagellm_core.contract import Engine, GenerationRequest, TokenEvent

from .patience import Patience
from .process import HomeProcess


class TokenStream:
    """An iterator over a request's events; the last one has a finish reason.

    The request is under way from construction on. Closing the stream, leaving its ``with``
    block, or dropping the last reference cancels it. Errors are raised where they come up.

    :raises InvalidRequestError: on construction, as :meth:`Engine.submit` does.
    """

    def __init__(self, engine: Engine, request: GenerationRequest, patience: Patience) -> None:
        self._engine = engine
        self._patience = patience
        self._home = HomeProcess()
        self._events: queue.SimpleQueue[TokenEvent] = queue.SimpleQueue()
        self.request_id = request.request_id
        self._over = False
        try:
            # The queue and not the stream is the sink: else the engine would keep alive what
            # nobody reads.
            engine.submit(request, self._events.put)
        except Exception:
            self._over = True
            raise
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> TokenStream:
        return self

    def __next__(self) -> TokenEvent:
        if self._over:
            raise StopIteration
        if self._home.left:
            self._over = True  # the request is the parent's, and goes on there
            self._home.check()
        try:
            event = self._next_event()
        except BaseException:
            self.close()
            raise
        if event.last:
            self._over = True
            if event.error is not None:
                raise event.error
        return event

    def _next_event(self) -> TokenEvent:
        while True:
            try:
                return self._events.get(timeout=self._patience.left())
            except queue.Empty:
                if self._patience.over:
                    raise self._patience.error() from None

    def close(self) -> None:
        """Cancel the request unless it is over. May be called twice."""
        if not self._over:
            self._over = True
            self._engine.cancel(self.request_id)

    def __enter__(self) -> TokenStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Construction may have failed early; and at the interpreter's exit parts are gone.
        with contextlib.suppress(Exception):
            self.close()
