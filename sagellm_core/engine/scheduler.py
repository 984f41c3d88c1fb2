"""What to compute next, and where each sequence lies in the cache."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

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
        """Take out a request that has ended, wherever it is; its blocks are free afterwards."""
        if state.slot < 0:
            self.waiting.forget()
        else:
            self._vacate(state)

    def schedule(self, now: float) -> Plan:
        """The next step. Empty only when there is no work.

        :param now: :func:`time.monotonic`, noted on those that begin.
        """
        plan = Plan()
        if self.decoding:
            self._plan_decodes(plan)
        if self.prefilling or self.waiting:
            self._plan_prefills(plan, now)
        return plan

    def advance(self, state: RequestState, tokens: int) -> None:
        """Note that so many prompt tokens of ``state`` were prefilled."""
        state.cached += tokens
        self.placement.remember(state)
        if state.cached == len(state.tokens):
            self.prefilling.remove(state)
            self.decoding.append(state)

    def calm(self) -> None:
        """Note that a step went well."""
        if self._limit < self.max_running:
            self._calm_steps += 1
            if self._calm_steps >= _RECOVERY_STEPS:
                self._calm_steps = 0
                self._limit += 1

    def throttle(self, hit: Sequence[RequestState], limit: int) -> None:
        """Run at most ``limit`` sequences for now: the device's memory is short.

        :param hit: sequences that must begin anew.
        """
        self._limit = limit
        self._calm_steps = 0
        for state in hit:
            self._preempt(state)
        while self.running_count > limit:
            self._preempt(self._last_in_line())

    def _plan_decodes(self, plan: Plan) -> None:
        # cached is one less than the tokens: the last sampled token is the step's input.
        full = [state for state in self.decoding if state.cached == state.capacity]
        grown: dict[int, tuple[int, ...]] = {}
        if full:
            full.sort()
            for state in full:
                while state.slot >= 0 and self.pool.free_count == 0:
                    self._preempt(self._last_in_line())
                if state.slot >= 0:
                    self.placement.remember(state)
                    grown[state.slot] = self.placement.grow(state, 1)
        plain_rows = self._plain_rows
        plan.decodes = self.decoding.copy()
        plan.decode_rows = [plain_rows[state.slot] for state in plan.decodes]
        if grown:
            for index, state in enumerate(plan.decodes):
                if state.slot in grown:
                    plan.decode_rows[index] = DecodeRow(state.slot, grown[state.slot])

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
                plan.prefills.append(state)
                plan.prefill_rows.append(placement.row(state, chunk))

    def _admit_waiting(self) -> None:
        self.starved = False
        while (head := self.waiting.head()) is not None:
            if self._can_admit(head):
                self._admit()
            elif not self._make_way(head):
                self.starved = True
                return

    def _can_admit(self, state: RequestState) -> bool:
        if self.running_count >= self._limit:
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

    def _preempt(self, state: RequestState) -> None:
        # By recompute: when its turn comes, prompt and output are prefilled again. Its place
        # in the queue is before everything of its priority that came later.
        self._vacate(state)
        self.preemptions += 1
        self.waiting.push(state)

    def _vacate(self, state: RequestState) -> None:
        self._free_slots.append(state.slot)
        # In prefill or in decode: a sequence with nothing left to prefill but the token
        # sampled last decodes.
        home = self.decoding if state in self.decoding else self.prefilling
        home.remove(state)
        self.placement.give_up(state)
