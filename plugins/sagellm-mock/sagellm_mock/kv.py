"""The mock's KV cache: in place of keys and values, each block holds its tokens."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from sagellm_core.contract import BlockAccountingError


class CacheFault(BlockAccountingError):
    """The engine used the cache in a way that would corrupt a real one.

    :param what: what it did, as a clause.
    """

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The mock's cache was misused: {what}.",
            hint="This is a defect of the engine; please report it.",
        )


class FakeCache:
    """Blocks of tokens, and which slot wrote to them last.

    The mock reads every sequence back from here before it answers, so a wrong block table, a
    lost block or a stale slot shows as a fault or as another answer.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._tokens = array("i", [-1]) * (num_blocks * block_size)
        # Slot that a block was given to last; -1: never given.
        self._owner = array("i", [-1]) * num_blocks

    def give(self, slot: int, blocks: Sequence[int], taken: set[int]) -> None:
        """Note new blocks of a slot.

        :param taken: blocks given in this call already; these are added.
        :raises CacheFault: a block does not exist, or was given twice in one call.
        """
        for block in blocks:
            if isinstance(block, bool) or not isinstance(block, int):
                raise CacheFault(f"slot {slot} was given {block!r}, which is no block")
            if not 0 <= block < self.num_blocks:
                raise CacheFault(
                    f"slot {slot} was given block {block}; there are 0 to {self.num_blocks - 1}"
                )
            if block in taken:
                raise CacheFault(f"block {block} was given twice in one call")
            taken.add(block)
            self._owner[block] = slot
            # A real cache would still hold what was there, and a new owner must not see it.
            start = block * self.block_size
            for place in range(start, start + self.block_size):
                self._tokens[place] = -1

    def check(self, slot: int, table: Sequence[int], shared: int) -> None:
        """Whether a slot still owns its blocks.

        :param shared: so many blocks at the front are a cached prefix, which others may use.
        :raises CacheFault: a block was given to another slot since.
        """
        for block in table[shared:]:
            if self._owner[block] != slot:
                raise CacheFault(f"block {block} of slot {slot} belongs to another slot now")

    def write(self, slot: int, table: Sequence[int], start: int, tokens: Sequence[int]) -> None:
        """Write tokens from position ``start`` on.

        :raises CacheFault: the table has too few blocks.
        """
        end = start + len(tokens)
        if end > len(table) * self.block_size:
            raise CacheFault(
                f"slot {slot} has {len(table)} blocks of {self.block_size} tokens, too few to "
                f"hold {end}"
            )
        for position, token in enumerate(tokens, start):
            block, offset = divmod(position, self.block_size)
            self._tokens[table[block] * self.block_size + offset] = token

    def read(self, slot: int, table: Sequence[int], length: int) -> list[int]:
        """The first ``length`` tokens of a sequence.

        :raises CacheFault: a position was never written.
        """
        tokens: list[int] = []
        size = self.block_size
        for block in table[: -(-length // size)]:
            tokens.extend(self._tokens[block * size : (block + 1) * size])
        del tokens[length:]
        if len(tokens) < length or -1 in tokens:
            raise CacheFault(f"slot {slot} has a gap within its first {length} tokens")
        return tokens
