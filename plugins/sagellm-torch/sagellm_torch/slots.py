"""The state of each slot: block table, last token, sampling state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from sagellm_core.contract import BlockAccountingError, RunnerError, SlotStart

from .kv_cache import KVCache
from .sampling import RowState

_REPORT = "This is a defect of the engine or the runner: please report it."


@dataclass(slots=True)
class Slot:
    """One sequence."""

    #: Tokens in the cache.
    length: int
    prompt_len: int
    sampling: RowState
    blocks: list[int] = field(default_factory=list)
    #: Whether each block follows the one before it in memory.
    contiguous: bool = True
    #: Past LongRoPE's switch.
    long: bool = False
    #: A token was sampled that is not in the cache yet: decode may go on from it.
    pending: bool = False


class SlotTable:
    """All slots of a runner, and their block tables and last tokens on the device.

    :param upload: copies integers to the device.
    """

    def __init__(
        self,
        max_slots: int,
        max_model_len: int,
        cache: KVCache,
        device: torch.device,
        upload: Callable[[Sequence[int]], torch.Tensor],
    ) -> None:
        shape = cache.shape
        self._cache = cache
        self._upload = upload
        self._block_size = shape.block_size
        self._num_blocks = shape.num_blocks
        self._max_model_len = max_model_len
        self._slots: list[Slot | None] = [None] * max_slots
        width = -(-max_model_len // shape.block_size)
        #: [max_slots, blocks of the longest sequence]
        self.tables = torch.zeros((max_slots, width), dtype=torch.int64, device=device)
        # Blocks that the tables do not hold yet, by their places in them.
        self._gained: dict[int, int] = {}
        #: [max_slots]
        self.last_tokens = torch.zeros(max_slots, dtype=torch.int64, device=device)

    def __getitem__(self, index: int) -> Slot:
        slot = self._slots[index] if 0 <= index < len(self._slots) else None
        if slot is None:
            raise RunnerError(f"Slot {index} holds no sequence.", hint=_REPORT)
        return slot

    def check(self, slots: Sequence[int]) -> None:
        """Refuse a call whose slots do not exist or are named twice."""
        for index in slots:
            if not 0 <= index < len(self._slots):
                raise RunnerError(
                    f"Slot {index} does not exist: there are {len(self._slots)}.", hint=_REPORT
                )
        if len(set(slots)) != len(slots):
            raise RunnerError(f"A slot is named twice in one call: {list(slots)}.", hint=_REPORT)

    def check_growth(
        self, index: int, held: int, new_blocks: Sequence[int], start: int, count: int
    ) -> None:
        """Refuse blocks that are not in the pool, or too few for ``start + count`` tokens.

        :param held: blocks that the slot has already.
        """
        for block in new_blocks:
            if not 0 <= block < self._num_blocks:
                raise BlockAccountingError(
                    f"Block {block} of slot {index} is not among the {self._num_blocks} of the "
                    "cache.",
                    hint=_REPORT,
                )
        end = start + count
        if end > self._max_model_len:
            raise RunnerError(
                f"Slot {index} would hold {end} tokens; the runner was opened for "
                f"{self._max_model_len}.",
                hint=_REPORT,
            )
        blocks = held + len(new_blocks)
        if blocks * self._block_size < end:
            raise BlockAccountingError(
                f"Slot {index} has {blocks} blocks of {self._block_size} tokens for {end} tokens.",
                hint=_REPORT,
            )
        if blocks > self.tables.shape[1]:
            raise BlockAccountingError(
                f"Slot {index} would have {blocks} blocks, more than {self._max_model_len} tokens "
                "need.",
                hint=_REPORT,
            )

    def begin(self, index: int, start: SlotStart, sampling: RowState) -> Slot:
        """Forget what the slot held and begin a sequence in it."""
        slot = Slot(
            length=len(start.cached_token_ids), prompt_len=start.prompt_len, sampling=sampling
        )
        self._slots[index] = slot
        return slot

    def grow(self, index: int, new_blocks: Sequence[int], count: int) -> Slot:
        """Append blocks, and ``count`` tokens that are about to be written.

        The tables on the device have the blocks after :meth:`settle`.
        """
        slot = self[index]
        end = slot.length + count
        if new_blocks:
            held = len(slot.blocks)
            for block in new_blocks:
                if slot.blocks and block != slot.blocks[-1] + 1:
                    slot.contiguous = False
                slot.blocks.append(block)
            first = index * self.tables.shape[1] + held
            self._gained.update(enumerate(new_blocks, first))
            self._clear_past(slot, held, end)
        slot.length = end
        return slot

    def settle(self) -> None:
        """Write the blocks that slots gained into the tables, all at once."""
        if self._gained:
            gained, self._gained = self._gained, {}
            places, blocks = self._upload([*gained, *gained.values()]).chunk(2)
            self.tables.view(-1).index_copy_(0, places, blocks)

    def _clear_past(self, slot: Slot, held: int, end: int) -> None:
        # Of the blocks that are new, what this call does not write.
        first = max(held, end // self._block_size)
        for position in range(first, len(slot.blocks)):
            offset = max(0, end - position * self._block_size)
            self._cache.clear(slot.blocks[position], offset)

    def place(self, slot: Slot, position: int) -> int:
        """Where a token lies in the cache: block * block_size + offset."""
        block, offset = divmod(position, self._block_size)
        return slot.blocks[block] * self._block_size + offset

    def places(self, slot: Slot, start: int, end: int) -> list[int]:
        """:meth:`place` of ``start`` to ``end - 1``."""
        size = self._block_size
        return [slot.blocks[i // size] * size + i % size for i in range(start, end)]

    def blocks_for(self, tokens: int) -> int:
        """How many blocks hold ``tokens`` tokens."""
        return -(-tokens // self._block_size)

    def blocks_of(self, index: int, tokens: int) -> torch.Tensor:
        """The first blocks of a slot, enough for ``tokens``, on the device."""
        return self.tables[index, : self.blocks_for(tokens)]

    def run_of(self, slot: Slot) -> int | None:
        """The slot's first block, if its blocks follow each other in memory."""
        return slot.blocks[0] if slot.contiguous and slot.blocks else None

    def decode_blocks(
        self, slots: Sequence[int], contexts: Sequence[int], told: torch.Tensor
    ) -> torch.Tensor:
        """Block tables of several slots, [rows * most blocks of a row].

        :param told: on the device, slots and contexts in its first two rows.
        """
        counts = [self.blocks_for(context) for context in contexts]
        longest = max(counts)
        if len(slots) == 1:
            return self.tables[slots[0], :longest]
        tables = self.tables[:, :longest].index_select(0, told[0])
        if min(counts) < longest:
            # Past a row's own blocks the table holds what an earlier sequence left there. Its
            # own first block in their place keeps rows from reading each other's memory.
            sizes = (told[1] + (self._block_size - 1)) // self._block_size
            past = torch.arange(longest, device=tables.device) >= sizes.unsqueeze(1)
            tables = torch.where(past, tables[:, :1], tables)
        return tables.reshape(-1)
