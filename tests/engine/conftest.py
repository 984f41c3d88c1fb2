"""A small runner, model and tokenizer that keep the contract, and engines over them."""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from sagellm_core.contract import (
    CompletedStep,
    EngineConfig,
    GenerationRequest,
    KVCapacity,
    ModelDescription,
    ModelFormat,
    SamplingParams,
    StepResult,
    TokenEvent,
    TokenizerError,
    TokenLogprobs,
)
from sagellm_core.engine import EngineClient, LLMEngine

EOS = 256


class ByteTokenizer:
    """Ids 0 to 255 are bytes; 256 ends, 257 is special."""

    vocab_size = 258
    has_chat_template = False

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return bytes(token for token in token_ids if token < 256).decode(errors="replace")

    def apply_chat_template(self, messages: Any, **_: Any) -> str:
        raise TokenizerError("no template")


class NoTokenizer(ByteTokenizer):
    """Of a model that came without tokenizer files."""

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        raise TokenizerError("The model has no tokenizer files.")


class FakeModel:
    dtype = quantization = "none"
    notes = ()

    def __init__(self, tokenizer: Any = None, max_model_len: int = 256) -> None:
        self.description = ModelDescription(reference="fake", format=ModelFormat.UNRESOLVED)
        self.tokenizer = tokenizer or ByteTokenizer()
        self.max_model_len = max_model_len
        self.eos_token_ids = frozenset({EOS})
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def chosen(tokens: Sequence[int], prompt_len: int, sampling: SamplingParams) -> int:
    """What the fake runner answers: a letter, sometimes the end."""
    seed = 0 if sampling.greedy else sampling.seed
    drawn = zlib.crc32(repr((list(tokens), prompt_len, seed)).encode())
    if not sampling.ignore_eos and drawn % 61 == 0:
        return EOS
    return ord("a") + (drawn >> 8) % 6


class _Slot:
    def __init__(self, sampling: SamplingParams, prompt_len: int) -> None:
        self.sampling = sampling
        self.prompt_len = prompt_len
        self.table: list[int] = []
        self.length = 0
        self.last: int | None = None


class FakeRunner:
    """Keeps tokens in blocks and answers from what it finds there.

    ``answer`` may be replaced, ``before`` is called with each call's name and rows and may
    raise or block.
    """

    def __init__(self, *, max_slots: int = 4, num_blocks: int = 64, block_size: int = 4) -> None:
        self.max_slots = max_slots
        self.capacity = KVCapacity(num_blocks, block_size, 1)
        self.memory: dict[int, list[int | None]] = {}
        self.slots: dict[int, _Slot] = {}
        self.calls: list[tuple[str, list[Any]]] = []
        self.closed = 0
        self.threads: set[str] = set()
        self.before: Callable[[str, list[Any]], None] = lambda name, rows: None
        self.answer: Callable[[Sequence[int], int, SamplingParams], int] = chosen

    def prefill(self, rows: Sequence[Any]) -> CompletedStep:
        self._note("prefill", rows)
        sampled = []
        for row in rows:
            if row.begin is not None:
                assert row.begin.sampling.seed is not None
                self.slots[row.slot] = _Slot(row.begin.sampling, row.begin.prompt_len)
            slot = self.slots[row.slot]
            shared = self._share(slot, row) if row.begin is not None else 0
            assert row.start == slot.length
            self._write(slot, row.new_blocks[shared:], row.token_ids)
            sampled.append(self._sample(slot) if row.sample else -1)
        return self._result([self.slots[row.slot] for row in rows], sampled)

    def decode(self, rows: Sequence[Any]) -> CompletedStep:
        self._note("decode", rows)
        for row in rows:
            slot = self.slots[row.slot]
            assert slot.last is not None
            self._write(slot, row.new_blocks, [slot.last])
        slots = [self.slots[row.slot] for row in rows]
        return self._result(slots, [self._sample(slot) for slot in slots])

    def close(self) -> None:
        self.closed += 1

    def _note(self, name: str, rows: Sequence[Any]) -> None:
        assert not self.closed
        self.threads.add(threading.current_thread().name)
        self.calls.append((name, list(rows)))
        self.before(name, list(rows))

    def _share(self, slot: _Slot, row: Any) -> int:
        """Take over a cached prefix, after a look at what its blocks really hold."""
        cached = list(row.begin.cached_token_ids)
        count, ragged = divmod(len(cached), self.capacity.block_size)
        assert not ragged
        slot.table.extend(row.new_blocks[:count])
        assert [token for block in slot.table for token in self.memory[block]] == cached
        slot.length = len(cached)
        return count

    def _write(self, slot: _Slot, new_blocks: Sequence[int], tokens: Sequence[int]) -> None:
        size = self.capacity.block_size
        for block in new_blocks:
            assert 0 <= block < self.capacity.num_blocks
            self.memory[block] = [None] * size
        slot.table.extend(new_blocks)
        for token in tokens:
            block, offset = divmod(slot.length, size)
            self.memory[slot.table[block]][offset] = token
            slot.length += 1

    def _sample(self, slot: _Slot) -> int:
        size = self.capacity.block_size
        tokens = [
            self.memory[slot.table[place // size]][place % size] for place in range(slot.length)
        ]
        slot.last = self.answer(tokens, slot.prompt_len, slot.sampling)  # type: ignore[arg-type]
        return slot.last

    def _result(self, slots: Sequence[_Slot], sampled: list[int]) -> CompletedStep:
        logprobs = [
            TokenLogprobs(token, -0.5) if slot.sampling.logprobs is not None else None
            for slot, token in zip(slots, sampled, strict=True)
        ]
        return CompletedStep(StepResult(sampled, logprobs))


class Events:
    """A sink that keeps what it got and lets a test wait for it."""

    def __init__(self) -> None:
        self.all: list[TokenEvent] = []
        self._news = threading.Condition()

    def __call__(self, event: TokenEvent) -> None:
        with self._news:
            self.all.append(event)
            self._news.notify_all()

    def wait(self, count: int = 0, timeout: float = 10.0) -> TokenEvent:
        """Wait for ``count`` events, or for the last one; returns the newest."""
        with self._news:
            assert self._news.wait_for(
                lambda: len(self.all) >= count if count else bool(self.all) and self.all[-1].last,
                timeout,
            ), f"no end after {self.all[-3:]}"
            return self.all[-1]

    @property
    def token_ids(self) -> list[int]:
        return [token for event in self.all for token in event.token_ids]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.all)


class Harness:
    """One engine over one fake runner."""

    def __init__(
        self,
        runner: FakeRunner | None = None,
        model: FakeModel | None = None,
        **config: Any,
    ) -> None:
        self.runner = runner or FakeRunner()
        self.model = model or FakeModel()
        config.setdefault("max_num_seqs", self.runner.max_slots)
        self.engine = LLMEngine(self.model, self.runner, EngineConfig(**config))
        self.client = EngineClient(self.engine)
        self._count = 0

    def submit(
        self,
        prompt: Sequence[int] | str = "hello",
        *,
        priority: int = 0,
        timeout: float | None = None,
        sink: Any = None,
        request_id: str | None = None,
        **sampling: Any,
    ) -> tuple[str, Events]:
        events = sink if sink is not None else Events()
        self._count += 1
        request_id = request_id if request_id is not None else f"r{self._count}"
        sampling.setdefault("temperature", 0.0)
        tokens = tuple(prompt.encode()) if isinstance(prompt, str) else tuple(prompt)
        request = GenerationRequest(
            request_id=request_id,
            prompt_token_ids=tokens,
            sampling=SamplingParams(**sampling),
            priority=priority,
            deadline=None if timeout is None else time.monotonic() + timeout,
        )
        self.engine.submit(request, events)
        return request_id, events

    def expected(self, prompt: Sequence[int] | str, count: int, **sampling: Any) -> list[int]:
        """What the runner answers when nothing goes on beside."""
        sampling.setdefault("temperature", 0.0)
        tokens = list(prompt.encode()) if isinstance(prompt, str) else list(prompt)
        prompt_len = len(tokens)
        while len(tokens) - prompt_len < count:
            tokens.append(self.runner.answer(tokens, prompt_len, SamplingParams(**sampling)))
            if tokens[-1] == EOS and not sampling.get("ignore_eos"):
                break
        return tokens[prompt_len:]

    def at_baseline(self) -> bool:
        """Whether nothing runs, nothing waits and every block is free."""
        stats = self.engine.stats()
        return (stats.running, stats.waiting, stats.blocks_free) == (0, 0, stats.blocks_total)

    def settle(self) -> None:
        """Wait for the baseline."""
        deadline = time.monotonic() + 10
        while not self.at_baseline():
            assert time.monotonic() < deadline, self.engine.stats()
            time.sleep(0.002)


class Gate:
    """Holds a runner's calls back until opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.reached = threading.Event()

    def __call__(self, name: str, rows: list[Any]) -> None:
        self.reached.set()
        assert self._open.wait(20)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def harness() -> Iterator[Callable[..., Harness]]:
    """Makes harnesses; at the end each is back at its baseline and closes."""
    made: list[Harness] = []

    def make(**arguments: Any) -> Harness:
        runner_arguments = {
            name: arguments.pop(name)
            for name in ("max_slots", "num_blocks", "block_size")
            if name in arguments
        }
        if "runner" not in arguments:
            arguments["runner"] = FakeRunner(**runner_arguments)
        made.append(Harness(**arguments))
        return made[-1]

    yield make
    for one in made:
        if one.runner.closed == 0:
            one.settle()
        with contextlib.closing(one.engine):
            pass
        assert one.runner.closed == 1
        assert one.model.closed == 1


@pytest.fixture
def gate() -> Iterator[Gate]:
    one = Gate()
    yield one
    one.open()


@pytest.fixture
def fakes() -> Any:
    """The classes above, for tests that put things together themselves."""

    class Fakes:
        Runner = FakeRunner
        Model = FakeModel
        Tokenizer = ByteTokenizer
        NoTokenizer = NoTokenizer
        Events = Events

    return Fakes
