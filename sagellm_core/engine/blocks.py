"""The pool of KV-cache blocks, with honest accounting."""

from __future__ import annotations

from collections.abc import Sequence

from sagellm_core.contract import BlockAccountingError

_DEFECT = "This is a defect in sagellm or in a plugin; please report it."


class BlockPool:
    """Hands out the numbers of KV blocks and takes them back.

    Every block has at most one owner. Whatever does not add up raises before anything changes.

    :param num_blocks: blocks that the runner allocated, numbered from 0.
    :param block_size: tokens in one block.
    :raises BlockAccountingError: a size is not a positive integer.
    """

    __slots__ = ("_free", "_held", "_owner", "block_size", "num_blocks")

    def __init__(self, num_blocks: int, block_size: int) -> None:
        for name, value in (("num_blocks", num_blocks), ("block_size", block_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BlockAccountingError(
                    f"A KV cache with {name}={value!r} holds nothing.", hint=_DEFECT
                )
        self.num_blocks = num_blocks
        self.block_size = block_size
        # Popped from the end, so that low numbers are used first and recently used ones again.
        self._free = list(range(num_blocks - 1, -1, -1))
        self._owner: list[object | None] = [None] * num_blocks
        self._held: dict[object, int] = {}

    @property
    def free_count(self) -> int:
        """Blocks that nobody owns."""
        return len(self._free)

    @property
    def used_count(self) -> int:
        """Blocks that somebody owns."""
        return self.num_blocks - len(self._free)

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold so many tokens."""
        return -(-tokens // self.block_size)

    def allocate(self, owner: object, count: int) -> tuple[int, ...]:
        """Give ``count`` free blocks to ``owner`` (anything hashable).

        :raises BlockAccountingError: ``count`` is negative or above :attr:`free_count`.
        """
        if count < 0 or count > len(self._free):
            raise BlockAccountingError(
                f"{count} KV blocks were asked for, and {len(self._free)} of {self.num_blocks} "
                "are free.",
                hint=_DEFECT,
            )
        if count == 0:
            return ()
        taken = tuple(self._free[: -count - 1 : -1])
        del self._free[-count:]
        for block in taken:
            self._owner[block] = owner
        self._held[owner] = self._held.get(owner, 0) + count
        return taken

    def release(self, owner: object, blocks: Sequence[int]) -> None:
        """Take back all of ``owner``'s blocks.

        :param blocks: exactly the blocks it holds, each once.
        :raises BlockAccountingError: a block is foreign to the pool, was freed before, belongs
            to somebody else, or the blocks are fewer or more than ``owner`` holds.
        """
        seen = set()
        for block in blocks:
            if isinstance(block, bool) or not isinstance(block, int):
                raise BlockAccountingError(f"{block!r} is not a KV block.", hint=_DEFECT)
            if not 0 <= block < self.num_blocks:
                raise BlockAccountingError(
                    f"KV block {block} is foreign: the pool has 0 to {self.num_blocks - 1}.",
                    hint=_DEFECT,
                )
            holder = self._owner[block]
            if holder is None or block in seen:
                raise BlockAccountingError(f"KV block {block} was freed twice.", hint=_DEFECT)
            if holder != owner:
                raise BlockAccountingError(
                    f"KV block {block} belongs to another sequence.", hint=_DEFECT
                )
            seen.add(block)
        held = self._held.get(owner, 0)
        if len(seen) != held:
            raise BlockAccountingError(
                f"{len(seen)} KV blocks were given back by a sequence that holds {held}.",
                hint=_DEFECT,
            )
        for block in reversed(blocks):
            self._owner[block] = None
            self._free.append(block)
        self._held.pop(owner, None)
