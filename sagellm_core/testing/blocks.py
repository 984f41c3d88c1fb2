"""KV blocks as the suite hands them out: in order, or all over the cache."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sagellm_core.contract.runner import KVCapacity

from .finding import skip


class BlockSource:
    """Free blocks of a runner's cache.

    :param scattered: whether neighbours in a sequence are far apart in the cache, in no order.
    """

    def __init__(self, capacity: KVCapacity, *, scattered: bool = False) -> None:
        self.block_size = capacity.block_size
        self._free = list(range(capacity.num_blocks))
        if scattered:
            random.Random(capacity.num_blocks).shuffle(self._free)

    def take(self, held: int, tokens: int) -> tuple[int, ...]:
        """Blocks that a sequence gains.

        :param held: blocks that it has.
        :param tokens: tokens that it is to hold.
        """
        count = max(0, -(-tokens // self.block_size) - held)
        if count > len(self._free):
            skip(
                f"The runner's cache is too small for this test: {count} blocks of "
                f"{self.block_size} tokens are wanted, and {len(self._free)} are free."
            )
        taken = tuple(self._free[:count])
        del self._free[:count]
        return taken

    def give_back(self, blocks: Sequence[int]) -> None:
        """Take blocks back; they are given out last."""
        self._free.extend(blocks)
