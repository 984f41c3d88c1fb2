"""Where sequences lie in the KV cache, and which of their blocks they share."""

from __future__ import annotations

from collections.abc import Sequence

from sagellm_core.contract import PrefillRow, SlotStart

from .blocks import BlockPool
from .prefix_cache import ROOT, PrefixCache
from .request import RequestState


class Placement:
    """Gives sequences their blocks, and finds blocks that hold their beginning already.

    Only full blocks are shared, and nobody writes to a full block; so sharing needs no copies.

    :param share: whether sequences may share blocks.
    """

    def __init__(self, num_blocks: int, block_size: int, *, share: bool) -> None:
        self._cache = PrefixCache(block_size) if share else None
        self.pool = BlockPool(
            num_blocks, block_size, self._cache.forget if self._cache is not None else None
        )
        #: Tokens of sequences that began, and those of them that were found in the cache.
        self.queried_tokens = 0
        self.found_tokens = 0

    def room(self, state: RequestState) -> int:
        """Tokens that a sequence could grow by now."""
        return state.capacity - state.cached + self.pool.free_count * self.pool.block_size

    def fits(self, state: RequestState, blocks: int) -> bool:
        """Whether a waiting sequence's tokens and one more fit into so many free blocks."""
        needed = self.pool.blocks_for(len(state.tokens) + 1)
        if needed > blocks > 0 and self._cache is not None:
            found, _ = self._cache.match(state.tokens, 0, ROOT)
            # Idle ones among them count like others: shared, they are no longer free.
            needed -= sum(map(self.pool.owned, found))
        return needed <= blocks

    def grow(self, state: RequestState, count: int) -> tuple[int, ...]:
        """Give a sequence ``count`` more blocks."""
        taken = self.pool.allocate(state.number, count)
        state.blocks.extend(taken)
        state.capacity = len(state.blocks) * self.pool.block_size
        return taken

    def reuse(self, state: RequestState) -> None:
        """Give a sequence that has not begun the blocks that hold its beginning."""
        if self._cache is None:
            return
        found, content = self._cache.match(state.tokens, state.known, state.content)
        if found:
            self.pool.share(state.number, found)
            state.blocks.extend(found)
            state.known += len(found)
            state.content = content
            state.capacity = state.known * self.pool.block_size
            state.cached = state.settled = state.capacity

    def follow(self, state: RequestState, others: Sequence[RequestState]) -> None:
        """Have a sequence wait where one before it is about to compute what it needs.

        :param others: the sequences in prefill, the first in line first.
        """
        size = self.pool.block_size
        usable = (len(state.tokens) - 1) // size * size
        start = state.cached
        if self._cache is None or start + size > usable:
            return
        piece = state.tokens[start : start + size]
        for other in others:
            if not other < state:
                return
            if other.tokens[start : start + size] != piece:
                continue
            if other.tokens[:start] != state.tokens[:start]:
                continue
            end = start + size
            while end < usable and other.tokens[end : end + size] == state.tokens[end : end + size]:
                end += size
            state.leader, state.leader_at = other, end
            return

    def waits(self, state: RequestState) -> bool:
        """Whether a sequence that has not begun waits for another's blocks."""
        leader = state.leader
        if leader is not None:
            if leader.slot >= 0 and leader.settled < state.leader_at:
                return True
            state.leader = None
            self.reuse(state)
        return False

    def row(self, state: RequestState, size: int) -> PrefillRow:
        """The next ``size`` tokens of a sequence in prefill, with the blocks they need.

        They count as cached from here on.
        """
        start = state.cached
        end = state.cached = start + size
        new_blocks = self.grow(state, self.pool.blocks_for(end) - len(state.blocks))
        begin = None
        if not state.begun:
            state.begun = True
            begin = SlotStart(
                sampling=state.sampling,
                prompt_len=state.prompt_len,
                cached_token_ids=tuple(state.tokens[:start]),
            )
            new_blocks = tuple(state.blocks)
            self.queried_tokens += len(state.tokens)
            self.found_tokens += start
            if state.found is None:
                state.found = min(start, state.prompt_len)
        return PrefillRow(
            slot=state.slot,
            token_ids=state.tokens[start:end],
            start=start,
            new_blocks=new_blocks,
            begin=begin,
            sample=end == len(state.tokens),
        )

    def remember(self, state: RequestState) -> None:
        """Let others find the sequence's blocks that are full for certain."""
        cache = self._cache
        if cache is None:
            return
        size = self.pool.block_size
        # A request that was cancelled has more in its blocks than tokens were read.
        certain = min(state.settled, len(state.tokens))
        for place in range(state.known, certain // size):
            block = state.blocks[place]
            tokens = state.tokens[place * size : (place + 1) * size]
            state.content, news = cache.add(state.content, tokens, block)
            if news:
                self.pool.keep(block)
            state.known += 1

    def give_up(self, state: RequestState) -> None:
        """Take a sequence's blocks; the full ones can be found until their room is needed."""
        self.remember(state)
        self.pool.release(state.number, state.blocks)
        state.vacate()
