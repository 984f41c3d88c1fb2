"""What to compute next, and where each sequence lies in the cache."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

from sagellm_core.contract import DecodeRow, PrefillRow

from .blocks import BlockPool
from .budget import shares, step_budget
from .placement import Placement
from .request import RequestState
from .waiting import WaitingQueue

#: Steps without trouble after which one more sequence may run, where memory ran out before.
_RECOVERY_STEPS = 32


class Plan:
    """Rows for one step, and the requests they belong to."""

    __slots__ = ("decode_rows", "decodes", "prefill_rows", "prefills")

    def __init__(self) -> None:
        self.decodes: list[RequestState] = []
        self.decode_rows: list[DecodeRow] = []
        self.prefills: list[RequestState] = []
        self.prefill_rows: list[PrefillRow] = []


class Scheduler:
    """Continuous batching with chunked prefill.

    Every step decodes one token for each running sequence and prefills what is left of
    ``max_prefill_tokens`` of the others' prompts: see :mod:`.budget`. Smaller priorities first,
    then order of arrival; nobody overtakes a request that waits for blocks.

    :param placement: the cache's blocks.
    :param max_running: most sequences at once, and the number of slots.
    :param max_prefill_tokens: most prompt tokens a step, over all sequences.
    """

    def __init__(self, placement: Placement, *, max_running: int, max_prefill_tokens: int) -> None:
        self.placement = placement
        self.pool: BlockPool = placement.pool
        self.max_running = max_running
        self._max_prefill_tokens = max_prefill_tokens
        self.waiting = WaitingQueue()
        self.prefilling: list[RequestState] = []
        self.decoding: list[RequestState] = []
        self._free_slots = list(range(max_running - 1, -1, -1))
        # A decode row without new blocks never changes, so each slot's is made once.
        self._plain_rows = [DecodeRow(slot) for slot in range(max_running)]
        # Fewer than max_running while the device's memory is known to be short.
        self._limit = max_running
        self._calm_steps = 0
        # Over, but named by a step that was not read: their slots and blocks are not free yet.
        self._retired: set[RequestState] = set()
        self.preemptions = 0
        #: Whether the next request in the queue waits for something else than a step.
        self.starved = False

    @property
    def running_count(self) -> int:
        """Sequences that have a slot."""
        return len(self.decoding) + len(self.prefilling)

    @property
    def has_work(self) -> bool:
        """Whether there is anything to compute."""
        return bool(self.decoding or self.prefilling or self.waiting)

    def add(self, state: RequestState) -> None:
        """Queue a new request."""
        self.waiting.push(state)

    def remove(self, state: RequestState) -> None:
        """Take out a request that has ended, wherever it is.

        Its blocks are free afterwards, or once the last step that names it was read: see
        :meth:`release`.
        """
        if state.slot < 0:
            self.waiting.forget()
        elif state.cached == state.settled:
            self._vacate(state)
        else:
            self._home(state).remove(state)
            self._retired.add(state)

    def release(self, state: RequestState) -> None:
        """Free the blocks of a request that has ended, unless a step that names it is unread."""
        if state.cached == state.settled:
            self._retired.remove(state)
            self._give_up(state)

    def schedule(self, now: float, *, ahead: bool = False) -> Plan:
        """The next step, whose tokens count as cached from here on.

        :param now: :func:`time.monotonic`, noted on those that begin.
        :param ahead: the step before was not read. Sequences whose last token it samples are
            left out; and nobody is preempted, as what it samples would be lost with them.
        :returns: empty only when there is no work, or when, with ``ahead``, the step before has
            to be read first.
        """
        plan = Plan()
        if self.decoding and not self._plan_decodes(plan, ahead):
            return plan
        if self.prefilling or self.waiting:
            self._plan_prefills(plan, now)
        return plan

    def settle(self, state: RequestState, tokens: int) -> None:
        """Note that a step was read that prefilled so many tokens of ``state``."""
        state.settled += tokens
        if state.ended:
            self.release(state)
        else:
            self.placement.remember(state)

    def forfeit(self, states: Iterable[RequestState]) -> None:
        """Note that what was handed over and not read of these is void; nothing is unread."""
        for state in states:
            state.cached = state.settled
            state.broken = False
        self.release_all()

    def release_all(self) -> None:
        """Free the blocks of all requests that have ended; no step is unread any more."""
        for state in self._retired:
            self._give_up(state)
        self._retired.clear()

    def calm(self) -> None:
        """Note that a step went well."""
        if self._limit < self.max_running:
            self._calm_steps += 1
            if self._calm_steps >= _RECOVERY_STEPS:
                self._calm_steps = 0
                self._limit += 1

    def throttle(self, limit: int) -> None:
        """Run at most ``limit`` sequences for now: the device's memory is short."""
        self._limit = limit
        self._calm_steps = 0
        while self.running_count > limit:
            self.preempt(self._last_in_line())

    def _plan_decodes(self, plan: Plan, ahead: bool) -> bool:
        decoding = self.decoding
        if ahead:
            decoding = [state for state in decoding if state.cached < state.limit]
        full = [state for state in decoding if state.cached == state.capacity]
        grown: dict[int, tuple[int, ...]] = {}
        if full:
            if ahead and len(full) > self.pool.free_count:
                return False
            full.sort()
            for state in full:
                while state.slot >= 0 and self.pool.free_count == 0:
                    self.preempt(self._last_in_line())
                if state.slot >= 0:
                    self.placement.remember(state)
                    grown[state.slot] = self.placement.grow(state, 1)
        plain_rows = self._plain_rows
        plan.decodes = decoding if ahead else decoding.copy()
        for state in plan.decodes:
            state.cached += 1
        plan.decode_rows = [plain_rows[state.slot] for state in plan.decodes]
        if grown:
            for index, state in enumerate(plan.decodes):
                if state.slot in grown:
                    plan.decode_rows[index] = DecodeRow(state.slot, grown[state.slot])
        return True

    def _plan_prefills(self, plan: Plan, now: float) -> None:
        self._admit_waiting()
        placement = self.placement
        ready = [state for state in self.prefilling if not placement.waits(state)]
        budget = step_budget(self._max_prefill_tokens, len(plan.decodes))
        for state, share in shares(ready, budget):
            chunk = min(share, placement.room(state))
            if chunk > 0:
                if state.admitted_at is None:
                    state.admitted_at = now
                row = placement.row(state, chunk)
                plan.prefills.append(state)
                plan.prefill_rows.append(row)
                if row.sample:
                    self.prefilling.remove(state)
                    self.decoding.append(state)

    def _admit_waiting(self) -> None:
        self.starved = False
        while (head := self.waiting.head()) is not None:
            if self._can_admit(head):
                self._admit()
            elif not self._make_way(head):
                self.starved = True
                return

    def _can_admit(self, state: RequestState) -> bool:
        if self.running_count + len(self._retired) >= self._limit:
            return False
        # Blocks that sequences in prefill will still need are spoken for. So a prefill can
        # only fall short of blocks because of decoding sequences, and those come to an end.
        promised = sum(
            self.pool.blocks_for(len(other.tokens)) - len(other.blocks) for other in self.prefilling
        )
        return self.placement.fits(state, self.pool.free_count - promised)

    def _make_way(self, head: RequestState) -> bool:
        # Who was admitted and has not begun loses nothing by waiting in the queue again.
        last = self.prefilling[-1] if self.prefilling else None
        if last is None or last.begun or last < head:
            return False
        self._vacate(last)
        self.waiting.push(last)
        return True

    def _admit(self) -> None:
        state = self.waiting.pop()
        state.slot = self._free_slots.pop()
        self.placement.reuse(state)
        self.placement.follow(state, self.prefilling)
        insort(self.prefilling, state)

    def _last_in_line(self) -> RequestState:
        return max(self.decoding + self.prefilling)

    def preempt(self, state: RequestState) -> None:
        """Have a sequence give way; no step that names it may be unread.

        By recompute: when its turn comes, prompt and output are prefilled again. Its place in
        the queue is before everything of its priority that came later.
        """
        self._vacate(state)
        self.preemptions += 1
        self.waiting.push(state)

    def _vacate(self, state: RequestState) -> None:
        self._home(state).remove(state)
        self._give_up(state)

    def _home(self, state: RequestState) -> list[RequestState]:
        # In prefill or in decode: a sequence with nothing left to prefill but the token
        # sampled last decodes.
        return self.decoding if state in self.decoding else self.prefilling

    def _give_up(self, state: RequestState) -> None:
        self._free_slots.append(state.slot)
        self.placement.give_up(state)
