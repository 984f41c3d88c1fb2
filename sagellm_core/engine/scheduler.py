"""What to compute next, and where each sequence lies in the cache."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

from sagellm_core.contract import DecodeRow, PrefillRow, SlotStart

from .blocks import BlockPool
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

    Every step decodes one token for each running sequence and prefills at most
    ``max_prefill_tokens`` of the others' prompts. Smaller priorities first, then order of
    arrival; nobody overtakes a request that waits for blocks.

    :param pool: the cache's blocks.
    :param max_running: most sequences at once, and the number of slots.
    :param max_prefill_tokens: most prompt tokens a step, over all sequences.
    """

    def __init__(self, pool: BlockPool, *, max_running: int, max_prefill_tokens: int) -> None:
        self.pool = pool
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

        :param now: :func:`time.monotonic`, noted on those admitted.
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
                    grown[state.slot] = self._grow(state, 1)
        plain_rows = self._plain_rows
        plan.decodes = self.decoding.copy()
        plan.decode_rows = [plain_rows[state.slot] for state in plan.decodes]
        if grown:
            for index, state in enumerate(plan.decodes):
                if state.slot in grown:
                    plan.decode_rows[index] = DecodeRow(state.slot, grown[state.slot])

    def _plan_prefills(self, plan: Plan, now: float) -> None:
        budget = self._max_prefill_tokens
        index = 0
        self.starved = False
        while budget > 0:
            state = self.prefilling[index] if index < len(self.prefilling) else None
            head = None if self.starved else self.waiting.head()
            if head is not None and (state is None or head < state):
                if self._can_admit(head):
                    # Goes in at `index`: it sorts before the one there and after those before.
                    state = self._admit(now)
                else:
                    self.starved = True
                    continue
            if state is None:
                return
            index += 1
            chunk = min(state.prefill_left, budget, self._room(state))
            if chunk > 0:
                plan.prefills.append(state)
                plan.prefill_rows.append(self._chunk(state, chunk))
                budget -= chunk

    def _can_admit(self, state: RequestState) -> bool:
        if self.running_count >= self._limit:
            return False
        # Blocks that sequences in prefill will still need are spoken for. So a prefill can
        # only fall short of blocks because of decoding sequences, and those come to an end.
        promised = sum(
            self.pool.blocks_for(len(other.tokens)) - len(other.blocks) for other in self.prefilling
        )
        needed = self.pool.blocks_for(len(state.tokens) + 1)
        return self.pool.free_count - promised >= needed

    def _admit(self, now: float) -> RequestState:
        state = self.waiting.pop()
        state.slot = self._free_slots.pop()
        if state.admitted_at is None:
            state.admitted_at = now
        insort(self.prefilling, state)
        return state

    def _room(self, state: RequestState) -> int:
        free_tokens = self.pool.free_count * self.pool.block_size
        return state.capacity - state.cached + free_tokens

    def _chunk(self, state: RequestState, size: int) -> PrefillRow:
        start = state.cached
        end = start + size
        begin = None
        if start == 0:
            # A prefix cache would hand over the tokens it found as `cached_token_ids`, begin
            # with `cached` at their number, and its blocks in `new_blocks`.
            begin = SlotStart(sampling=state.sampling, prompt_len=state.prompt_len)
        return PrefillRow(
            slot=state.slot,
            token_ids=state.tokens[start:end],
            start=start,
            new_blocks=self._grow(state, self.pool.blocks_for(end) - len(state.blocks)),
            begin=begin,
            sample=end == len(state.tokens),
        )

    def _grow(self, state: RequestState, count: int) -> tuple[int, ...]:
        taken = self.pool.allocate(state.number, count)
        state.blocks.extend(taken)
        state.capacity = len(state.blocks) * self.pool.block_size
        return taken

    def _last_in_line(self) -> RequestState:
        return max(self.decoding + self.prefilling)

    def _preempt(self, state: RequestState) -> None:
        # By recompute: when its turn comes, prompt and output are prefilled again. Its place
        # in the queue is before everything of its priority that came later.
        self._vacate(state)
        self.preemptions += 1
        self.waiting.push(state)

    def _vacate(self, state: RequestState) -> None:
        self.pool.release(state.number, state.blocks)
        self._free_slots.append(state.slot)
        # In prefill or in decode: a sequence with nothing left to prefill but the token
        # sampled last decodes.
        home = self.decoding if state in self.decoding else self.prefilling
        home.remove(state)
        state.vacate()
