"""Decode steps that are recorded once and replayed: device graphs.

A decode step launches hundreds of small kernels, and launching them takes the host longer than
computing them takes the device. A recording is launched as a whole. It holds what was launched
and with which memory, so every step of a width has to look alike: rows are filled up to one of a
few widths with rows for nothing, and all that differs between two steps is read on the device,
from :attr:`~sagellm_torch.step.DecodeStep.told`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Protocol

import torch

from .step import DecodeStep

_Forward = Callable[[DecodeStep], torch.Tensor]


class Recording(Protocol):
    """A recorded computation."""

    def replay(self) -> None:
        """Compute it again, with what the memory that it reads holds by now."""
        ...


class Recorder(Protocol):
    """How a device records."""

    def record(self, compute: Callable[[], None]) -> Recording:
        """Run a computation, which makes its kernels ready, and then record it.

        :raises RuntimeError: it cannot be recorded.
        """
        ...

    @property
    def room(self) -> bool:
        """Whether there is memory left for one more recording."""
        ...


def widths(most: int) -> tuple[int, ...]:
    """Rows that recordings are made for: 1, 2, 4, 8, then every 8, and ``most``."""
    chosen = {1, 2, 4, *range(8, most, 8), most}
    return tuple(sorted(width for width in chosen if width <= most))


class RecordedDecode:
    """A decoder's step, recorded for each width when a step first needs it.

    It computes what ``forward`` does. Where a recording cannot be made, it goes on without: the
    first time it says so.

    :param forward: logits [B, vocab] of a step.
    :param idle: makes a step of so many rows for nothing.
    :param most: rows of the widest step.
    :param on_trouble: told in one sentence why steps are not recorded.
    """

    def __init__(
        self,
        forward: _Forward,
        idle: Callable[[int], DecodeStep],
        most: int,
        recorder: Recorder,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._forward = forward
        self._idle = idle
        self._recorder = recorder
        self._on_trouble = on_trouble
        self._widths = widths(most)
        self._made: dict[int, _Width] = {}
        self._records = True
        self._logits: torch.Tensor | None = None

    @property
    def recorded(self) -> tuple[int, ...]:
        """The widths that there are recordings for."""
        return tuple(sorted(self._made))

    def __call__(self, step: DecodeStep) -> torch.Tensor:
        """Logits [B, vocab]; good until the next call."""
        rows = step.told.shape[1]
        width = self._widths[bisect_left(self._widths, rows)]
        found = self._made.get(width) or self._record(width) or self._wider(width)
        return self._forward(step) if found is None else found(step)

    def _record(self, width: int) -> _Width | None:
        if not self._records or not self._recorder.room:
            return None
        try:
            made = self._make(self._idle(width))
        except RuntimeError as error:
            self._records = False
            first = (str(error).strip().splitlines() or ["no details"])[0]
            self._on_trouble(f"Decode steps are not recorded, and start more slowly: {first}")
            return None
        self._made[width] = made
        return made

    def _make(self, step: DecodeStep) -> _Width:
        def compute() -> None:
            # A fresh step each time: what one run has looked up must not be taken for recorded.
            logits = self._forward(step.afresh())
            if self._logits is None:
                self._logits = logits.new_empty((self._widths[-1], logits.shape[1]))
            # All recordings write their results to one place, and share what they need meanwhile.
            self._logits[: logits.shape[0]].copy_(logits)

        recording = self._recorder.record(compute)
        assert self._logits is not None, "a recorder runs what it records"
        return _Width(step.told, self._logits, recording)

    def _wider(self, width: int) -> _Width | None:
        """Where memory for recordings is used up: the next wider one, if it is not much wider."""
        wider = [made for made in self._made if width < made <= 2 * width]
        return self._made[min(wider)] if wider else None


class _Width:
    """The recording for one width."""

    def __init__(self, told: torch.Tensor, logits: torch.Tensor, recording: Recording) -> None:
        self._told = told
        self._idle = told[:, :1].clone()
        self._used = 0
        self._logits = logits
        self._recording = recording

    def __call__(self, step: DecodeStep) -> torch.Tensor:
        rows = step.told.shape[1]
        self._told[:, :rows].copy_(step.told)
        if rows < self._used:
            self._told[:, rows : self._used].copy_(self._idle.expand(-1, self._used - rows))
        self._used = rows
        self._recording.replay()
        return self._logits[:rows]
