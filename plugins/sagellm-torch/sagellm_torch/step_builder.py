"""From the rows of a call to what the device has to know about the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from sagellm_core.contract import DecodeRow, PrefillRow

from .long_context import TokenHistory
from .rotary import RotaryTable
from .sampling import RowState
from .slots import Slot, SlotTable
from .step import DecodeStep, PrefillStep, Segment, SlotState


class StepBuilder:
    """Advances the slots by the rows of a call and describes the step to the decoder.

    :param upload: copies integers to the device.
    """

    def __init__(
        self,
        slots: SlotTable,
        ropes: Sequence[RotaryTable],
        history: TokenHistory | None,
        upload: Callable[[Sequence[int]], torch.Tensor],
    ) -> None:
        self._slots = slots
        self._ropes = ropes
        self._history = history
        self._upload = upload
        self._state = SlotState(
            last_tokens=slots.last_tokens, tables=slots.tables, ropes=tuple(ropes)
        )

    def prefill(
        self, rows: Sequence[PrefillRow], states: Sequence[RowState | None]
    ) -> tuple[PrefillStep, list[Slot]]:
        """The step of a prefill call, and its slots, row by row.

        :param states: the sampling state of each row that begins a sequence.
        """
        tokens: list[int] = []
        places: list[int] = []
        turns: list[list[int]] = [[] for _ in self._ropes]
        segments: list[Segment] = []
        slots: list[Slot] = []
        wanted: list[int] = []
        for row, state in zip(rows, states, strict=True):
            slot = self._advance(row, state)
            end = row.start + len(row.token_ids)
            segments.append(self._segment(row.slot, slot, len(tokens), row.start))
            tokens.extend(row.token_ids)
            places.extend(self._slots.places(slot, row.start, end))
            for rope, found in zip(self._ropes, turns, strict=True):
                first = rope.first_row(long=slot.long)
                found.extend(range(first + row.start, first + end))
            if row.sample:
                wanted.append(len(tokens) - 1)
            slots.append(slot)
        self._slots.settle()
        everything = self._upload([*tokens, *places, *(row for found in turns for row in found)])
        ids, write_index, *rotated = torch.split(everything, len(tokens))
        if self._history is not None:
            for row, segment in zip(rows, segments, strict=True):
                part = ids[segment.first : segment.first + segment.count]
                self._history.extend(row.slot, row.start, part)
        step = PrefillStep(
            tokens=ids,
            rotations=self._rotations(rotated),
            write_index=write_index,
            segments=tuple(segments),
            logits_index=None if len(wanted) == len(tokens) else self._upload(wanted),
        )
        return step, slots

    def _advance(self, row: PrefillRow, state: RowState | None) -> Slot:
        if row.begin is not None and state is not None:
            begun = self._slots.begin(row.slot, row.begin, state)
            state.observe(row.begin.cached_token_ids, 0, begun.prompt_len)
        slot = self._slots.grow(row.slot, row.new_blocks, len(row.token_ids))
        if row.begin is not None and self._history is not None:
            slot.long = self._history.crosses(False, max(slot.length, slot.prompt_len))
        slot.sampling.observe(row.token_ids, row.start, slot.prompt_len)
        slot.pending = False
        return slot

    def decode(self, rows: Sequence[DecodeRow]) -> tuple[DecodeStep, list[Slot]]:
        """The step of a decode call, and its slots, row by row."""
        slots = [self._slots.grow(row.slot, row.new_blocks, 1) for row in rows]
        named = [row.slot for row in rows]
        self._slots.settle()
        contexts = tuple(slot.length for slot in slots)
        places = [self._slots.place(slot, slot.length - 1) for slot in slots]
        turns = [
            rope.first_row(long=slot.long) + slot.length - 1
            for rope in self._ropes
            for slot in slots
        ]
        # One copy for all that the device has to be told.
        told = self._upload([*named, *contexts, *places, *turns]).view(-1, len(rows))
        step = DecodeStep(
            told=told,
            state=self._state,
            contexts=contexts,
            gather=partial(self._slots.decode_blocks, named, contexts, told),
            max_blocks=self._slots.blocks_for(max(contexts)),
            run=self._slots.run_of(slots[0]) if len(slots) == 1 else None,
        )
        if self._history is not None:
            self._history.append(step.slots, step.lengths - 1, step.tokens)
        return step, slots

    def idle(self, count: int) -> DecodeStep:
        """A step of ``count`` rows for nothing: they write nothing and see no key.

        For devices that record a step and replay it: real ones are written into its ``told``.
        """
        told = self._upload([0] * ((3 + len(self._ropes)) * count)).view(-1, count)
        told[2].fill_(-1)
        return DecodeStep(
            told=told,
            state=self._state,
            contexts=(),
            gather=partial(self._slots.decode_blocks, (), (), told),
            max_blocks=0,
            run=None,
        )

    def outgrown(self, index: int, end: int) -> PrefillStep | None:
        """The step that computes a sequence again, if ``end`` tokens outgrow the short factors."""
        slot = self._slots[index]
        if self._history is None or not self._history.crosses(slot.long, end):
            return None
        slot.long = True
        firsts = [rope.first_row(long=True) for rope in self._ropes]
        turns = [row for first in firsts for row in range(first, first + slot.length)]
        everything = self._upload([*self._slots.places(slot, 0, slot.length), *turns])
        write_index, *rotated = torch.split(everything, slot.length)
        return PrefillStep(
            tokens=self._history.tokens(index, slot.length),
            rotations=self._rotations(rotated),
            write_index=write_index,
            segments=(self._segment(index, slot, 0, 0),),
            logits_index=self._upload(()),
        )

    def _segment(self, index: int, slot: Slot, first: int, start: int) -> Segment:
        return Segment(
            first=first,
            count=slot.length - start,
            start=start,
            blocks=self._slots.blocks_of(index, slot.length),
            run=self._slots.run_of(slot),
        )

    def _rotations(self, rows: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return tuple(rope.rotations(at) for rope, at in zip(self._ropes, rows, strict=True))
