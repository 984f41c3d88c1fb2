"""The mock's runner: real bookkeeping, made-up tokens."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sagellm_core.contract import (
    CompletedStep,
    ConfigurationError,
    DecodeRow,
    DeviceLostError,
    DeviceOutOfMemoryError,
    EngineClosedError,
    InsufficientMemoryError,
    KVCapacity,
    PrefillRow,
    RunnerConfig,
    SamplingParams,
    SlotStart,
    StepResult,
    TokenLogprobs,
)

from .kv import CacheFault, FakeCache
from .model import MockModel
from .writer import NextToken, Writer

#: Bytes that a token takes in the fake cache.
_BYTES_PER_TOKEN = 4
#: Most blocks that are made unasked.
_MOST_BLOCKS = 65536


class _Slot:
    """One sequence: its block table and what was sampled last."""

    __slots__ = ("last", "length", "prompt_len", "sampling", "shared", "table")

    def __init__(self, sampling: SamplingParams, prompt_len: int) -> None:
        self.sampling = sampling
        self.prompt_len = prompt_len
        self.table: list[int] = []
        self.length = 0
        self.shared = 0
        # Token sampled last, not in the cache yet; -1 in the middle of a prefill.
        self.last = -1


class MockRunner:
    """Implements :class:`~sagellm_core.contract.Runner` over a fake cache.

    :raises InsufficientMemoryError: ``kv_memory_bytes`` is less than one block.
    """

    def __init__(self, model: MockModel, config: RunnerConfig) -> None:
        self._options = model.options
        if config.max_model_len > model.max_model_len:
            raise ConfigurationError(
                f"max_model_len={config.max_model_len} is more than the mock's context of "
                f"{model.max_model_len} tokens.",
                hint="Raise the mock's option context_length, or ask for less.",
            )
        block_size = self._options.block_size or config.block_size
        self._cache = FakeCache(self._block_count(config, block_size), block_size)
        self._capacity = KVCapacity(
            num_blocks=self._cache.num_blocks,
            block_size=block_size,
            bytes_per_block=block_size * _BYTES_PER_TOKEN,
        )
        self._writer = Writer(model.script)
        self._max_slots = config.max_slots
        self._max_prefill_tokens = config.max_prefill_tokens
        self._slots: list[_Slot | None] = [None] * config.max_slots
        self._calls = 0
        self._closed = False

    def _block_count(self, config: RunnerConfig, block_size: int) -> int:
        asked = self._options.num_blocks or config.num_blocks
        if asked is not None:
            return asked
        if config.kv_memory_bytes is not None:
            count = config.kv_memory_bytes // (block_size * _BYTES_PER_TOKEN)
            if count < 1:
                raise InsufficientMemoryError(
                    f"{config.kv_memory_bytes} bytes hold no KV block of "
                    f"{block_size * _BYTES_PER_TOKEN}.",
                    hint="Raise kv_memory_bytes.",
                )
            return count
        one_sequence = -(-config.max_model_len // block_size)
        return max(one_sequence, min(one_sequence * config.max_slots, _MOST_BLOCKS))

    @property
    def capacity(self) -> KVCapacity:
        """The fake cache."""
        return self._capacity

    @property
    def max_slots(self) -> int:
        """As configured."""
        return self._max_slots

    def prefill(self, rows: Sequence[PrefillRow]) -> CompletedStep:
        """Write the chunks and answer where a row asks for it.

        :raises CacheFault: the engine's bookkeeping is wrong.
        :raises DeviceOutOfMemoryError: by the option ``oom_at_blocks`` or ``fail_at_step``.
        """
        self._begin_call(rows)
        total = sum(len(row.token_ids) for row in rows)
        if total > self._max_prefill_tokens:
            raise CacheFault(f"{total} tokens in one prefill, over {self._max_prefill_tokens}")
        taken: set[int] = set()
        for row in rows:
            self._place(row, taken)
        self._check_memory(rows)
        if self._options.ttft_s and any(row.sample for row in rows):
            time.sleep(self._options.ttft_s)
        sampled = []
        for row in rows:
            slot = self._slot(row.slot)
            self._cache.check(row.slot, slot.table, slot.shared)
            self._cache.write(row.slot, slot.table, slot.length, row.token_ids)
            slot.length += len(row.token_ids)
            sampled.append(self._sample(row.slot, slot) if row.sample else None)
        return _completed(sampled)

    def decode(self, rows: Sequence[DecodeRow]) -> CompletedStep:
        """One token for each row.

        :raises CacheFault: the engine's bookkeeping is wrong.
        :raises DeviceOutOfMemoryError: by the option ``oom_at_blocks`` or ``fail_at_step``.
        """
        self._begin_call(rows)
        taken: set[int] = set()
        for row in rows:
            self._cache.give(row.slot, row.new_blocks, taken)
            self._slot(row.slot).table.extend(row.new_blocks)
        self._check_memory(rows)
        if self._options.tpot_s:
            time.sleep(self._options.tpot_s)
        sampled: list[NextToken | None] = []
        for row in rows:
            slot = self._slot(row.slot)
            if slot.last < 0:
                raise CacheFault(f"slot {row.slot} decodes before its prefill is over")
            self._cache.check(row.slot, slot.table, slot.shared)
            self._cache.write(row.slot, slot.table, slot.length, (slot.last,))
            slot.length += 1
            sampled.append(self._sample(row.slot, slot))
        return _completed(sampled)

    def close(self) -> None:
        """Forget every slot and the cache; later calls raise. May be called twice."""
        self._closed = True
        self._cache = FakeCache(0, self._capacity.block_size)
        self._slots = [None] * self._max_slots

    def _begin_call(self, rows: Sequence[PrefillRow] | Sequence[DecodeRow]) -> None:
        if self._closed:
            raise EngineClosedError("The mock's runner was closed.", hint="Open another one.")
        if not rows:
            raise CacheFault("a call without rows")
        named = [row.slot for row in rows]
        if len(set(named)) < len(named):
            raise CacheFault(f"a slot stands twice in one call: {sorted(named)}")
        for slot in named:
            if not 0 <= slot < self._max_slots:
                raise CacheFault(f"slot {slot} does not exist; there are {self._max_slots}")
        self._calls += 1
        if self._calls == self._options.fail_at_step:
            raise _failure(self._options.fail_with, self._calls)

    def _check_memory(self, rows: Sequence[PrefillRow] | Sequence[DecodeRow]) -> None:
        limit = self._options.oom_at_blocks
        if limit is None:
            return
        held = sum(len(self._slot(row.slot).table) for row in rows)
        if held > limit:
            raise DeviceOutOfMemoryError(
                f"The mock device is out of memory: {held} KV blocks in one call, and "
                f"oom_at_blocks is {limit}.",
                hint="Run fewer or shorter sequences, or raise oom_at_blocks.",
            )

    def _place(self, row: PrefillRow, taken: set[int]) -> None:
        if not row.token_ids:
            raise CacheFault(f"slot {row.slot} has a chunk without tokens")
        self._cache_new(row, taken)
        slot = self._slot(row.slot)
        if row.start != slot.length:
            raise CacheFault(
                f"slot {row.slot} holds {slot.length} tokens, and its chunk starts at {row.start}"
            )
        slot.last = -1

    def _cache_new(self, row: PrefillRow, taken: set[int]) -> None:
        if row.begin is None:
            self._cache.give(row.slot, row.new_blocks, taken)
            self._slot(row.slot).table.extend(row.new_blocks)
            return
        self._slots[row.slot] = None  # forgotten, even if what follows is refused
        slot = self._started(row.slot, row.begin, row.new_blocks)
        self._cache.give(row.slot, row.new_blocks[slot.shared :], taken)
        self._slots[row.slot] = slot

    def _started(self, number: int, begin: SlotStart, blocks: tuple[int, ...]) -> _Slot:
        if begin.sampling.seed is None:
            raise CacheFault(f"slot {number} begins without a seed")
        slot = _Slot(begin.sampling, begin.prompt_len)
        slot.table.extend(blocks)
        cached = begin.cached_token_ids
        slot.length = len(cached)
        # Whole blocks only: a block that is written to has one owner.
        slot.shared, ragged = divmod(len(cached), self._cache.block_size)
        if ragged:
            raise CacheFault(f"slot {number} begins with a cached prefix that ends in a block")
        if cached and self._cache.read(number, slot.table, len(cached)) != list(cached):
            raise CacheFault(f"slot {number} begins with blocks that hold another prefix")
        return slot

    def _slot(self, number: int) -> _Slot:
        slot = self._slots[number]
        if slot is None:
            raise CacheFault(f"slot {number} was never begun")
        return slot

    def _sample(self, number: int, slot: _Slot) -> NextToken:
        tokens = self._cache.read(number, slot.table, slot.length)
        token = self._writer.next_token(tokens, slot.prompt_len, slot.sampling)
        slot.last = token.token_id
        return token


def _completed(sampled: Sequence[NextToken | None]) -> CompletedStep:
    logprobs: list[TokenLogprobs | None] | None = None
    if any(token is not None and token.logprobs is not None for token in sampled):
        logprobs = [token.logprobs if token is not None else None for token in sampled]
    token_ids = [token.token_id if token is not None else -1 for token in sampled]
    return CompletedStep(StepResult(token_ids=token_ids, logprobs=logprobs))


def _failure(kind: str, call: int) -> Exception:
    said = f"The mock failed at call {call}, as its options ask"
    if kind == "device_lost":
        return DeviceLostError(f"{said}: the device is lost.", hint="Leave out fail_at_step.")
    if kind == "out_of_memory":
        return DeviceOutOfMemoryError(f"{said}: out of memory.", hint="Leave out fail_at_step.")
    return RuntimeError(f"{said}.")
