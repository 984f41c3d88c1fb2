"""One request, event by event, on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from types import TracebackType

from sagellm_core.contract import Engine, GenerationRequest, TokenEvent

from .patience import Patience
from .process import HomeProcess


class _Mailbox:
    """A sink that carries events from the engine's thread to an event loop.

    The loop is woken once for all the events that came since it last looked.
    """

    __slots__ = ("_cancel", "_loop", "_woken", "events", "waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        self._loop = loop
        self._cancel = engine.cancel
        self._woken = False
        self.events: deque[TokenEvent] = deque()
        self.waiter: asyncio.Future[None] | None = None

    def __call__(self, event: TokenEvent) -> None:
        self.events.append(event)
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                # The event loop was closed; nobody will ever read this.
                self._cancel(event.request_id)

    def _wake(self) -> None:
        # Reset first: an event that comes from here on wakes the loop again.
        self._woken = False
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def next(self, patience: Patience) -> TokenEvent:
        """The next event.

        :raises RequestTimeoutError: none came in time.
        """
        while not self.events:
            if patience.over:
                raise patience.error()
            waiter = self.waiter = self._loop.create_future()
            alarm = None
            left = patience.left()
            if left is not None:
                alarm = self._loop.call_later(left, self._wake)
            try:
                # What came before the waiter was there has woken nobody.
                if not self.events:
                    await waiter
            finally:
                self.waiter = None
                if alarm is not None:
                    alarm.cancel()
        return self.events.popleft()


class AsyncTokenStream:
    """An asynchronous iterator over a request's events; the last one has a finish reason.

    The request is under way from construction on, which needs a running event loop. Closing
    the stream, cancelling the task that waits for it, or dropping the last reference cancels
    it.

    :raises InvalidRequestError: on construction, as :meth:`Engine.submit` does.
    """

    def __init__(self, engine: Engine, request: GenerationRequest, patience: Patience) -> None:
        self._over = True
        self._engine = engine
        self._patience = patience
        self._home = HomeProcess()
        self.request_id = request.request_id
        self._mailbox = _Mailbox(asyncio.get_running_loop(), engine)
        engine.submit(request, self._mailbox)
        self._over = False

    def __aiter__(self) -> AsyncTokenStream:
        return self

    async def __anext__(self) -> TokenEvent:
        if self._over:
            raise StopAsyncIteration
        if self._home.left:
            self._over = True  # the request is the parent's, and goes on there
            self._home.check()
        try:
            event = await self._mailbox.next(self._patience)
        except BaseException:  # a cancelled task, too
            self._cancel()
            raise
        if event.last:
            self._over = True
            if event.error is not None:
                raise event.error
        return event

    def _cancel(self) -> None:
        if not self._over:
            self._over = True
            self._engine.cancel(self.request_id)

    async def aclose(self) -> None:
        """Cancel the request unless it is over. May be called twice."""
        self._cancel()

    async def __aenter__(self) -> AsyncTokenStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cancel()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._cancel()
