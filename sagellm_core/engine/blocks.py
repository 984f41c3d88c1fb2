"""The pool of KV-cache blocks, with honest accounting."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from sagellm_core.contract import BlockAccountingError

_DEFECT = "This is a defect in sagellm or in a plugin; please report it."


class BlockPool:
    """Hands out the numbers of KV blocks and takes them back.

    A block has the owners that allocated or shared it, each once. Without any it is free; a
    free block that was marked by :meth:`keep` is *idle*: what it holds can still be shared,
    until :meth:`allocate` needs its room. Whatever does not add up raises before anything
    changes.

    :param num_blocks: blocks that the runner allocated, numbered from 0.
    :param block_size: tokens in one block.
    :param evicted: called with an idle block whose content is given up.
    :raises BlockAccountingError: a size is not a positive integer.
    """

    __slots__ = (
        "_empty", "_evicted", "_held", "_idle", "_kept", "_owners", "block_size", "num_blocks"
    )  # fmt: skip

    def __init__(
        self, num_blocks: int, block_size: int, evicted: Callable[[int], object] | None = None
    ) -> None:
        for name, value in (("num_blocks", num_blocks), ("block_size", block_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BlockAccountingError(
                    f"A KV cache with {name}={value!r} holds nothing.", hint=_DEFECT
                )
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._evicted = evicted
        # Popped from the end, so that low numbers are used first and recently used ones again.
        self._empty = list(range(num_blocks - 1, -1, -1))
        # Free blocks with content, longest unused first.
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._kept: set[int] = set()
        self._owners = [0] * num_blocks
        self._held: dict[object, set[int]] = {}

    @property
    def free_count(self) -> int:
        """Blocks that nobody owns, idle ones included."""
        return len(self._empty) + len(self._idle)

    @property
    def used_count(self) -> int:
        """Blocks that somebody owns."""
        return self.num_blocks - self.free_count

    @property
    def idle_count(self) -> int:
        """Free blocks whose content can still be shared."""
        return len(self._idle)

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold so many tokens."""
        return -(-tokens // self.block_size)

    def owned(self, block: int) -> bool:
        """Whether somebody owns a block of the pool."""
        return self._owners[block] > 0

    def allocate(self, owner: object, count: int) -> tuple[int, ...]:
        """Give ``count`` free blocks to ``owner`` (anything hashable).

        Empty blocks go first; then idle ones, longest unused first, and their content is gone.

        :raises BlockAccountingError: ``count`` is negative or above :attr:`free_count`.
        """
        if count < 0 or count > self.free_count:
            raise BlockAccountingError(
                f"{count} KV blocks were asked for, and {self.free_count} of {self.num_blocks} "
                "are free.",
                hint=_DEFECT,
            )
        if count == 0:
            return ()
        empty = self._empty
        taken = empty[: -count - 1 : -1]
        del empty[len(empty) - len(taken) :]
        while len(taken) < count:
            taken.append(self._evict())
        for block in taken:
            self._owners[block] = 1
        self._held.setdefault(owner, set()).update(taken)
        return tuple(taken)

    def _evict(self) -> int:
        block, _ = self._idle.popitem(last=False)
        self._kept.discard(block)
        if self._evicted is not None:
            self._evicted(block)
        return block

    def keep(self, block: int) -> None:
        """Mark a block as worth sharing; once free it is idle and not empty.

        :raises BlockAccountingError: the block is foreign, or nobody owns it.
        """
        self._check_number(block)
        if not self._owners[block]:
            raise BlockAccountingError(f"KV block {block} is free.", hint=_DEFECT)
        self._kept.add(block)

    def share(self, owner: object, blocks: Sequence[int]) -> None:
        """Make ``owner`` one more owner of kept blocks.

        :raises BlockAccountingError: a block is foreign, was not kept, or is ``owner``'s.
        """
        held = self._held.get(owner, set())
        seen = set()
        for block in blocks:
            self._check_number(block)
            if block not in self._kept:
                raise BlockAccountingError(
                    f"KV block {block} holds nothing to share.", hint=_DEFECT
                )
            if block in held or block in seen:
                raise BlockAccountingError(
                    f"KV block {block} was shared twice with one sequence.", hint=_DEFECT
                )
            seen.add(block)
        if not seen:
            return
        for block in blocks:
            if not self._owners[block]:
                del self._idle[block]
            self._owners[block] += 1
        self._held.setdefault(owner, held).update(seen)

    def release(self, owner: object, blocks: Sequence[int]) -> None:
        """Take back all of ``owner``'s blocks.

        The last of them become idle first, so that a sequence loses its end before its
        beginning.

        :param blocks: exactly the blocks it holds, each once.
        :raises BlockAccountingError: a block is foreign to the pool, was freed before, belongs
            to somebody else, or the blocks are fewer or more than ``owner`` holds.
        """
        held = self._held.get(owner, set())
        seen = set()
        for block in blocks:
            self._check_number(block)
            if not self._owners[block] or block in seen:
                raise BlockAccountingError(f"KV block {block} was freed twice.", hint=_DEFECT)
            if block not in held:
                raise BlockAccountingError(
                    f"KV block {block} belongs to another sequence.", hint=_DEFECT
                )
            seen.add(block)
        if len(seen) != len(held):
            raise BlockAccountingError(
                f"{len(seen)} KV blocks were given back by a sequence that holds {len(held)}.",
                hint=_DEFECT,
            )
        for block in reversed(blocks):
            self._owners[block] -= 1
            if not self._owners[block]:
                if block in self._kept:
                    self._idle[block] = None
                else:
                    self._empty.append(block)
        self._held.pop(owner, None)

    def _check_number(self, block: object) -> None:
        if isinstance(block, bool) or not isinstance(block, int):
            raise BlockAccountingError(f"{block!r} is not a KV block.", hint=_DEFECT)
        if not 0 <= block < self.num_blocks:
            raise BlockAccountingError(
                f"KV block {block} is foreign: the pool has 0 to {self.num_blocks - 1}.",
                hint=_DEFECT,
            )
