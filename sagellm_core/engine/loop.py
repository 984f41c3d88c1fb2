"""The engine's thread: it owns every request's state and steps the runner."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from sagellm_core.contract import (
    DeviceLostError,
    EngineClosedError,
    EngineStats,
    FinishReason,
    OverloadedError,
    Runner,
    SageLLMError,
    TokenEvent,
    TokenLogprobs,
)

from .deadlines import Deadlines
from .metrics import Metrics
from .reasons import closed_error, defect, timeout_error
from .request import RequestState
from .scheduler import Scheduler
from .stepper import Stepper

_log = logging.getLogger("sagellm.engine")


class EngineLoop:
    """Requests come in from any thread; one thread of its own computes them.

    It knows nothing of the :class:`~sagellm_core.engine.LLMEngine` in front of it, so that an
    engine nobody refers to any more can be collected while its thread sleeps.

    :param vocab_size: ids at or above it are refused from the runner; ``None``: not known.
    :param max_waiting: most requests in the queue.
    """

    def __init__(
        self, runner: Runner, scheduler: Scheduler, *, vocab_size: int | None, max_waiting: int
    ) -> None:
        self._scheduler = scheduler
        self._stepper = Stepper(runner, scheduler, self, vocab_size=vocab_size)
        self._max_waiting = max_waiting
        # Guards what other threads touch: the four fields below and RequestState.cancelled.
        # Re-entrant, as the garbage collector may run a finalizer that cancels or stops here.
        self._news = threading.Condition(threading.RLock())
        self._active: dict[str, RequestState] = {}
        self._inbox: deque[RequestState] = deque()
        self._cancels: deque[RequestState] = deque()
        #: Set once: why no request is taken any more.
        self.stopped: EngineClosedError | None = None
        self._deadlines = Deadlines()
        self._metrics = Metrics()

    # --- from any thread -----------------------------------------------------------------

    def submit(self, state: RequestState) -> bool:
        """Queue a request.

        :returns: ``False`` when its id is in use.
        :raises EngineClosedError: stopped. :raises OverloadedError: the queue is full.
        """
        with self._news:
            if self.stopped is not None:
                raise closed_error(self.stopped)
            if state.request_id in self._active:
                return False
            self._refuse_overload()
            self._active[state.request_id] = state
            self._inbox.append(state)
            self._news.notify()
        return True

    def _refuse_overload(self) -> None:
        scheduler = self._scheduler
        running = scheduler.running_count
        waiting = len(self._active) - running
        # Requests that the next step admits do not count as waiting.
        about_to_run = scheduler.max_running - running
        if scheduler.starved and running:
            about_to_run = 0
        if waiting >= self._max_waiting + about_to_run:
            raise OverloadedError(
                f"{waiting} requests are waiting already, and the limit is {self._max_waiting}.",
                hint="Send the request again later, or raise max_waiting.",
            )

    def cancel(self, request_id: str) -> bool:
        """Mark a request; the thread ends it before its next step."""
        with self._news:
            state = self._active.get(request_id)
            if state is None:
                return False
            if not state.cancelled:
                state.cancelled = True
                self._cancels.append(state)
                self._news.notify()
            return True

    def stop(self, why: EngineClosedError) -> None:
        """Take no more requests; the thread ends those it has and returns."""
        with self._news:
            if self.stopped is None:
                self.stopped = why
            self._news.notify()

    def stats(self) -> EngineStats:
        """A snapshot."""
        scheduler = self._scheduler
        with self._news:
            running = scheduler.running_count
            waiting = max(0, len(self._active) - running)
        pool, placement, metrics = scheduler.pool, scheduler.placement, self._metrics
        return EngineStats(
            running=running,
            waiting=waiting,
            blocks_total=pool.num_blocks,
            blocks_free=pool.free_count,
            blocks_idle=pool.idle_count,
            preemptions=scheduler.preemptions,
            prompt_tokens=self._stepper.prompt_tokens,
            generated_tokens=self._stepper.generated_tokens,
            cache_query_tokens=placement.queried_tokens,
            cache_hit_tokens=placement.found_tokens,
            finished=metrics.finished,
            cancelled=metrics.cancelled,
            failed=metrics.failed,
            queue=metrics.queue,
            ttft=metrics.ttft,
            tpot=metrics.tpot,
        )

    @property
    def device_lost(self) -> bool:
        """Whether it stopped because its device is gone."""
        return self.stopped is not None and isinstance(self.stopped.__cause__, DeviceLostError)

    # --- the thread ----------------------------------------------------------------------

    def run(self) -> None:
        """Serve until stopped, then end every request that is left. Never raises."""
        try:
            while self._take_news():
                if self._stepper.has_work:
                    self._stepper.step()
            # What was handed over is waited for: the runner is closed after this.
            self._stepper.drain()
        except BaseException as error:
            _log.exception("the engine's thread failed")
            self.stop(defect(error))
        self.end_all()

    def end_all(self) -> None:
        """End every request there is with the reason for the stop."""
        with self._news:
            assert self.stopped is not None
            why = self.stopped
            left = list(self._active.values())
            self._inbox.clear()
            self._active.clear()
        lost = why.__cause__ if isinstance(why.__cause__, DeviceLostError) else None
        now = time.monotonic()
        for state in left:
            state.ended = True
            try:
                if state.slot >= 0:
                    self._scheduler.remove(state)
            except Exception:
                # After a defect the books may be wrong; still everyone must hear of the end.
                _log.exception("the blocks of request %s do not add up", state.request_id)
            self.emit(state, self._ended(state, now, error=lost or closed_error(why)))
        self._scheduler.release_all()

    def _take_news(self) -> bool:
        if self._inbox or self._cancels or self.stopped is not None or not self._stepper.has_work:
            with self._news:
                while not (self._inbox or self._cancels or self.stopped or self._stepper.has_work):
                    self._news.wait()
                if self.stopped is not None:
                    return False
                arrivals = list(self._inbox)
                self._inbox.clear()
                cancels = list(self._cancels)
                self._cancels.clear()
            for state in arrivals:
                self._scheduler.add(state)
                self._deadlines.add(state)
            for state in cancels:
                if not state.ended:
                    state.finish_reason = FinishReason.CANCELLED
                    self.finish(state, time.monotonic(), text=state.last_text())
        if self._deadlines:
            now = time.monotonic()
            for state in self._deadlines.passed(now):
                self.finish(state, now, error=timeout_error(state, now))
        return True

    # --- ends ----------------------------------------------------------------------------

    def finish(
        self,
        state: RequestState,
        now: float,
        *,
        text: str = "",
        token_ids: tuple[int, ...] = (),
        logprobs: tuple[TokenLogprobs, ...] | None = None,
        error: SageLLMError | None = None,
    ) -> None:
        """End a request, by its ``finish_reason`` or by an error."""
        # Its id is free before anyone hears of the end; its blocks too, unless a step is unread.
        state.ended = True
        self._scheduler.remove(state)
        self._deadlines.forget(state)
        with self._news:
            del self._active[state.request_id]
            if state.cancelled:
                # Whoever was told that the cancelling came in time must find it so.
                error = None
                state.finish_reason = FinishReason.CANCELLED
                state.stop_reason = None
        event = self._ended(
            state, now, text=text, token_ids=token_ids, logprobs=logprobs, error=error
        )
        self.emit(state, event)

    def _ended(
        self,
        state: RequestState,
        now: float,
        *,
        text: str = "",
        token_ids: tuple[int, ...] = (),
        logprobs: tuple[TokenLogprobs, ...] | None = None,
        error: SageLLMError | None = None,
    ) -> TokenEvent:
        self._metrics.note_end(state, now, error)
        return TokenEvent(
            request_id=state.request_id,
            token_ids=token_ids,
            text=text,
            logprobs=logprobs,
            finish_reason=None if error is not None else state.finish_reason,
            stop_reason=None if error is not None else state.stop_reason,
            usage=state.usage(),
            timings=state.timings(now),
            error=error,
        )

    def emit(self, state: RequestState, event: TokenEvent) -> None:
        """Tell a request's sink. One that raises loses its request."""
        try:
            state.sink(event)
        except Exception:
            _log.exception("the sink of request %s raised; cancelling it", state.request_id)
            if not event.last:
                self.cancel(state.request_id)
