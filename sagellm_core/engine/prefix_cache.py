"""Which KV block holds which stretch of which beginning."""

from __future__ import annotations

from collections.abc import Sequence

#: What precedes the first block of every sequence.
ROOT = 0


class PrefixCache:
    """Full blocks by their content: the tokens in a block, and all the tokens before it.

    Each known content has a number, and its key is the number of the content before it
    together with its own tokens. Numbers are never used again, so equal keys mean equal tokens
    from the beginning on: a lookup compares tokens and is exact, with no digest to collide.

    :param block_size: tokens in one block.
    """

    __slots__ = ("_block_size", "_by_block", "_by_key", "_last")

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        # Key to (the content's number, its block).
        self._by_key: dict[tuple[int, tuple[int, ...]], tuple[int, int]] = {}
        self._by_block: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._last = ROOT

    def __len__(self) -> int:
        return len(self._by_key)

    def match(self, tokens: Sequence[int], start: int, content: int) -> tuple[list[int], int]:
        """The longest run of known blocks; at least one token is always left over.

        :param tokens: a sequence from its beginning.
        :param start: blocks of it that are known to the caller already.
        :param content: the number of the last of them; :data:`ROOT` for none.
        :returns: the blocks that follow, and the number of the last content.
        """
        size = self._block_size
        blocks: list[int] = []
        for place in range(start * size, (len(tokens) - 1) // size * size, size):
            found = self._by_key.get((content, tuple(tokens[place : place + size])))
            if found is None:
                break
            content = found[0]
            blocks.append(found[1])
        return blocks, content

    def add(self, content: int, tokens: Sequence[int], block: int) -> tuple[int, bool]:
        """Note what a block holds.

        :param content: the number of what precedes it.
        :param tokens: the tokens in it, ``block_size`` of them.
        :returns: the number of the content, and whether it was news. Where another block held
            it already, that one stays the one to be found.
        """
        key = (content, tuple(tokens))
        known = self._by_key.get(key)
        if known is not None:
            return known[0], False
        self._last += 1
        self._by_key[key] = (self._last, block)
        self._by_block[block] = key
        return self._last, True

    def forget(self, block: int) -> None:
        """Note that a block's content is gone."""
        del self._by_key[self._by_block.pop(block)]
