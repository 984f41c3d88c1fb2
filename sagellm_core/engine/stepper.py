"""Steps: planned, handed to the runner, read, and what comes of them."""

from __future__ import annotations

import logging
import time
from typing import Protocol

from sagellm_core.contract import (
    DeviceLostError,
    DeviceOutOfMemoryError,
    EngineClosedError,
    EngineError,
    QueueingRunner,
    Runner,
    SageLLMError,
    TokenEvent,
    TokenLogprobs,
    UnsupportedOptionError,
)

from .reasons import decode_error, device_gone
from .request import RequestState
from .scheduler import Scheduler
from .step import Sampled, Step

_log = logging.getLogger("sagellm.engine")


class Outlet(Protocol):
    """Where tokens and ends of requests go: the engine's loop."""

    def emit(self, state: RequestState, event: TokenEvent) -> None:
        """Tell a request's sink."""
        ...

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
        ...

    def stop(self, why: EngineClosedError) -> None:
        """Take no more requests."""
        ...


class Stepper:
    """Computes what a scheduler holds, in the engine's thread.

    Over a plain runner each step is read before the next one is planned. Over a
    :class:`~sagellm_core.contract.QueueingRunner` that asks for it, the next step is handed over
    first: so the device computes while the step before becomes text. What a token decides is
    then decided one step later: a sequence that ends by what it wrote has one more row, which is
    dropped, and its blocks are free after that.

    :param vocab_size: ids at or above it are refused from the runner; ``None``: not known.
    """

    def __init__(
        self, runner: Runner, scheduler: Scheduler, outlet: Outlet, *, vocab_size: int | None
    ) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._outlet = outlet
        self._vocab_size = vocab_size
        self._queues_ahead = isinstance(runner, QueueingRunner) and runner.queues_ahead
        # The calls that were started and not read; of one step, between two calls of step().
        self._unread: list[Step] = []
        #: Of requests that got their first token.
        self.prompt_tokens = 0
        self.generated_tokens = 0

    @property
    def has_work(self) -> bool:
        """Whether there is anything to compute or to read."""
        return bool(self._unread) or self._scheduler.has_work

    def step(self) -> None:
        """Start a step, if there is one to start, and read what is due."""
        scheduler = self._scheduler
        before = self._unread
        plan = scheduler.schedule(time.monotonic(), ahead=bool(before))
        # Both calls are started before either is waited for.
        started = []
        if plan.decode_rows:
            started.append(Step("decode", self._runner.decode, plan.decode_rows, plan.decodes))
        if plan.prefill_rows:
            started.append(Step("prefill", self._runner.prefill, plan.prefill_rows, plan.prefills))
        if not started and not before and scheduler.has_work:
            raise EngineError("The scheduler found nothing to compute, though requests wait.")
        self._unread = started
        if before:
            self._read(before)
        # A call that raised left its slots undefined: nothing may be handed over behind it.
        if not self._queues_ahead or any(step.error is not None for step in started):
            self.drain()

    def drain(self) -> None:
        """Read what was started."""
        unread, self._unread = self._unread, []
        if unread:
            self._read(unread)

    def _read(self, steps: list[Step]) -> None:
        failed = self._take(steps)
        if failed:
            self._recover(failed)
        else:
            self._scheduler.calm()

    def _take(self, steps: list[Step]) -> list[Step]:
        # Gives back those that failed: what follows from that moves sequences about to whom
        # results of the others belong.
        failed = []
        for step in steps:
            sampled = step.wait(self._vocab_size)
            if sampled is None:
                failed.append(step)
            elif step.name == "decode":
                self._take_decode(step, sampled, time.monotonic())
            else:
                self._take_prefill(step, sampled, time.monotonic())
        return failed

    def _take_decode(self, step: Step, sampled: Sampled, now: float) -> None:
        tokens, logprobs = sampled
        for index, state in enumerate(step.states):
            if state.broken:
                continue
            state.settled += 1
            if state.ended:
                self._scheduler.release(state)
            elif not state.cancelled:
                chosen = logprobs[index] if logprobs is not None else None
                self._token(state, tokens[index], chosen, now)

    def _take_prefill(self, step: Step, sampled: Sampled, now: float) -> None:
        tokens, logprobs = sampled
        for index, state in enumerate(step.states):
            if state.broken:
                continue
            row = step.rows[index]
            self._scheduler.settle(state, len(row.token_ids))
            if row.sample and not (state.ended or state.cancelled):
                chosen = logprobs[index] if logprobs is not None else None
                self._token(state, tokens[index], chosen, now)

    def _token(
        self, state: RequestState, token: int, logprobs: TokenLogprobs | None, now: float
    ) -> None:
        if state.wants_logprobs and logprobs is None:
            error = UnsupportedOptionError(
                "The provider returned no log-probabilities.",
                hint="Leave logprobs out, or choose a provider that offers them.",
            )
            self._outlet.finish(state, now, error=error)
            return
        try:
            text = state.accept(token)
        except (Exception, SystemExit) as error:
            self._outlet.finish(state, now, error=decode_error(error))
            return
        self.generated_tokens += 1
        if state.first_token_at is None:
            state.first_token_at = now
            self.prompt_tokens += state.prompt_len
        state.last_token_at = now
        given = (logprobs,) if state.wants_logprobs and logprobs is not None else None
        if state.finish_reason is not None:
            self._outlet.finish(state, now, text=text, token_ids=(token,), logprobs=given)
            return
        self._outlet.emit(
            state,
            TokenEvent(request_id=state.request_id, token_ids=(token,), text=text, logprobs=given),
        )

    # --- trouble -------------------------------------------------------------------------

    def _recover(self, failed: list[Step]) -> None:
        for step in failed:
            for state in step.states:
                state.broken = True
        # What was handed over behind them ran on what they left: read it before anything moves.
        unread, self._unread = self._unread, []
        again: list[RequestState] = []
        for step in self._take(unread):
            sound = [state for state in step.states if not state.broken]
            if len(sound) < len(step.states) and not isinstance(step.error, DeviceLostError):
                # No wonder: others in it were undefined. Who was not is computed once more.
                again += sound
            else:
                failed.append(step)
        running = self._scheduler.running_count
        self._scheduler.forfeit([state for step in failed for state in step.states] + again)
        for state in again:
            if not state.ended:
                self._scheduler.preempt(state)
        self._fail(failed, running)

    def _fail(self, steps: list[Step], running: int) -> None:
        scheduler = self._scheduler
        short_of_memory = False
        for step in steps:
            error = step.error
            assert error is not None
            # Those of the step before may have ended or given way by now.
            states = [state for state in step.states if not state.ended and state.slot >= 0]
            if isinstance(error, DeviceLostError):
                self._outlet.stop(device_gone(error))
            elif isinstance(error, DeviceOutOfMemoryError) and running > 1:
                short_of_memory = True
                for state in states:
                    scheduler.preempt(state)
            else:
                now = time.monotonic()
                for state in states:
                    self._outlet.finish(state, now, error=error)
        if short_of_memory:
            _log.warning("out of device memory with %d sequences; going on with fewer", running)
            scheduler.throttle(max(1, running // 2))
