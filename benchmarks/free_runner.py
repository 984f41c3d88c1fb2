"""Runners without a device, and a model for them: what is left is the engine's own time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sagellm_core.contract import (
    CompletedStep,
    DecodeRow,
    KVCapacity,
    ModelDescription,
    ModelFormat,
    PrefillRow,
    StepResult,
    TokenizerError,
)

_TOKEN = ord("a")
#: Seconds before the end of a wait from which on it is not left to the operating system.
_SLEEP_LATE = 2e-4


class LetterTokenizer:
    """Token ids are bytes of text."""

    vocab_size = 256
    has_chat_template = False

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return bytes(token_ids).decode(errors="replace")

    def apply_chat_template(self, messages: Any, **_: Any) -> str:
        raise TokenizerError("This tokenizer has no chat template.", hint="Use plain prompts.")


class FreeModel:
    """A model without weights."""

    description = ModelDescription(reference="free", format=ModelFormat.UNRESOLVED)
    tokenizer = LetterTokenizer()
    eos_token_ids: frozenset[int] = frozenset()
    dtype = quantization = "none"
    notes: tuple[str, ...] = ()

    def __init__(self, max_model_len: int) -> None:
        self.max_model_len = max_model_len

    def close(self) -> None:
        return


class FreeRunner:
    """Answers every row with the same letter. Keeps no keys, values or slots."""

    def __init__(self, *, max_slots: int, num_blocks: int, block_size: int = 16) -> None:
        self.max_slots = max_slots
        self.capacity = KVCapacity(num_blocks, block_size, 1)
        # Prepared, so that the time measured is the engine's.
        self._steps = [
            CompletedStep(StepResult([_TOKEN] * count)) for count in range(max_slots + 1)
        ]

    def prefill(self, rows: Sequence[PrefillRow]) -> CompletedStep:
        if all(row.sample for row in rows):
            return self._steps[len(rows)]
        return CompletedStep(StepResult([_TOKEN if row.sample else -1 for row in rows]))

    def decode(self, rows: Sequence[DecodeRow]) -> CompletedStep:
        return self._steps[len(rows)]

    def close(self) -> None:
        return


class _Late:
    """A step that is done at some moment of :func:`time.perf_counter`."""

    __slots__ = ("_done_at", "_result")

    def __init__(self, result: StepResult, done_at: float) -> None:
        self._result = result
        self._done_at = done_at

    def result(self) -> StepResult:
        left = self._done_at - time.perf_counter()
        if left > _SLEEP_LATE:
            time.sleep(left - _SLEEP_LATE)
        while time.perf_counter() < self._done_at:
            pass
        return self._result


class LateRunner(FreeRunner):
    """The answers of :class:`FreeRunner`, from a device that computes behind the caller's back.

    :param step_s: seconds that each call takes there, one after the other.
    :param queues_ahead: whether the engine may hand steps over ahead.
    """

    def __init__(
        self, *, max_slots: int, num_blocks: int, step_s: float, queues_ahead: bool
    ) -> None:
        super().__init__(max_slots=max_slots, num_blocks=num_blocks)
        self.queues_ahead = queues_ahead
        #: Seconds of work that it was given.
        self.worked_s = 0.0
        self._step_s = step_s
        self._free_at = 0.0

    def prefill(self, rows: Sequence[PrefillRow]) -> _Late:  # type: ignore[override]
        return self._late(super().prefill(rows).step)

    def decode(self, rows: Sequence[DecodeRow]) -> _Late:  # type: ignore[override]
        return self._late(super().decode(rows).step)

    def _late(self, result: StepResult) -> _Late:
        self._free_at = max(self._free_at, time.perf_counter()) + self._step_s
        self.worked_s += self._step_s
        return _Late(result, self._free_at)
