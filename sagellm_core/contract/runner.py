"""The runner: memory on the device, the forward pass, and sampling on the device.

The engine addresses sequences by **slot**. A runner keeps the state of each slot (last token,
token counts for penalties, sampling settings, block table) where it computes, so that a decode
call says only what changed. The KV cache is cut into blocks of ``block_size`` tokens. The
engine owns the numbering and tells the runner which blocks a slot gained: token ``i`` of a
slot lives in block ``table[i // block_size]`` at offset ``i % block_size``.

Both calls return a :class:`StepHandle` at once where the device allows it; the engine queues
the next step before it reads the last where the runner is a :class:`QueueingRunner`. Calls come
from one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .sampling import SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """What the engine needs of a runner."""

    #: Slots are numbered 0 to ``max_slots - 1``; so many rows a decode call has at most.
    max_slots: int
    #: Longest sequence in tokens, at most the model's.
    max_model_len: int
    #: Tokens per KV block. A runner may insist on another: see :attr:`KVCapacity.block_size`.
    block_size: int = 16
    #: So many blocks exactly; or ``None`` to size the cache by ``kv_memory_bytes``.
    num_blocks: int | None = None
    #: Bytes for the KV cache; ``None``: the runner takes a share of free memory that it
    #: considers safe, and at least ``max_model_len`` tokens.
    kv_memory_bytes: int | None = None
    #: Most prompt tokens in one prefill call, over all its rows.
    max_prefill_tokens: int = 2048


@dataclass(frozen=True, slots=True)
class KVCapacity:
    """The KV cache a runner allocated."""

    num_blocks: int
    block_size: int
    #: Bytes of one block over all layers, keys and values together.
    bytes_per_block: int
    #: Whether sequences may share blocks: keys and values of a token depend on the tokens
    #: before it and on nothing else. Where not, no row has ``cached_token_ids``.
    shareable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStart:
    """Begins a new sequence in a slot; whatever the slot held before is forgotten."""

    #: Its ``seed`` is never ``None`` here.
    sampling: SamplingParams
    #: Tokens before this position are the prompt, those after it are output: after a
    #: preemption both are prefilled again, and output penalties must count only output.
    prompt_len: int
    #: Tokens whose keys and values are in the row's blocks already (a cached prefix); they
    #: come before the row's ``token_ids`` and matter for penalties.
    cached_token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillRow:
    """A chunk of one sequence."""

    slot: int
    #: The chunk's tokens; at least one.
    token_ids: Sequence[int]
    #: Position of the first of them: the number of tokens in the cache before this call.
    start: int
    #: Blocks to append to the slot's table before the chunk is written.
    new_blocks: tuple[int, ...]
    #: Set on the first chunk of a sequence, else ``None``.
    begin: SlotStart | None = None
    #: Sample a token after the chunk: set on the last chunk of a sequence.
    sample: bool = True


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """One more token for a slot, whose input is the token sampled last in that slot."""

    slot: int
    #: Blocks to append to the slot's table before the token is written.
    new_blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log-probabilities at one sampled token, natural logarithm."""

    token_id: int
    logprob: float
    #: The best alternatives as (token id, log-probability), best first.
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step sampled, aligned with its rows."""

    #: One id a row; -1 for a prefill row that does not sample.
    token_ids: Sequence[int]
    #: One entry a row (``None`` where the request asked for none), or ``None`` for all.
    logprobs: Sequence[TokenLogprobs | None] | None = None


@runtime_checkable
class StepHandle(Protocol):
    """A step under way."""

    def result(self) -> StepResult:
        """Wait for the step. May be called more than once.

        :raises DeviceOutOfMemoryError: this step did not fit.
        :raises DeviceLostError: the device is gone.
        """
        ...


@runtime_checkable
class Runner(Protocol):
    """What differs between devices.

    A call that raises leaves the slots it named in an undefined state; the engine begins them
    anew with a :class:`SlotStart` or drops them. Other slots must be unharmed, unless the
    error is :class:`DeviceLostError`.
    """

    @property
    def capacity(self) -> KVCapacity:
        """The KV cache it allocated."""
        ...

    @property
    def max_slots(self) -> int:
        """How many slots it has."""
        ...

    def prefill(self, rows: Sequence[PrefillRow]) -> StepHandle:
        """Write the chunks' keys and values and sample where a row asks for it."""
        ...

    def decode(self, rows: Sequence[DecodeRow]) -> StepHandle:
        """One step for each named slot."""
        ...

    def close(self) -> None:
        """Give the KV cache back; the model stays loaded. May be called twice."""
        ...


@runtime_checkable
class QueueingRunner(Runner, Protocol):
    """A runner that gains from a step that is handed over before the last one was read.

    Optional: the engine reads each step of a plain :class:`Runner` before it plans the next one,
    and a runner that computes before its calls return loses time by saying otherwise.

    Calls are computed in their order. At most one step (a prefill, a decode or both) is unread
    when the next one is handed over. No slot is begun anew, and no block is given to another
    slot, while a step that names it is unread. Where a sequence turns out to have ended, its row
    in the next step was for nothing, and what it gave is dropped. Where a step fails, steps
    behind it that name its slots may fail or give anything for these.
    """

    @property
    def queues_ahead(self) -> bool:
        """Whether to hand steps over ahead; constant."""
        ...


@dataclass(frozen=True, slots=True)
class CompletedStep:
    """A :class:`StepHandle` for runners whose calls return when the work is done."""

    step: StepResult

    def result(self) -> StepResult:
        """The step."""
        return self.step
