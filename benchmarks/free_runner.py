"""A runner that costs nothing, and a model for it: what is left is the engine's own time."""

from __future__ import annotations

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
