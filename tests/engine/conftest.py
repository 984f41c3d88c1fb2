"""A small runner, model and tokenizer that keep the contract, and engines over them."""

from __future__ import annotations

import contextlib
import functools
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


class _Queued:
    """The handle of a call that the device has not come to."""

    def __init__(self, runner: QueueingFakeRunner, name: str, rows: list[Any]) -> None:
        self.name = name
        self.rows = rows
        self._runner = runner
        self._done: CompletedStep | BaseException | None = None

    def execute(self) -> None:
        try:
            self._done = self._runner.execute(self.name, self.rows)
        except BaseException as error:
            self._done = error

    def result(self) -> StepResult:
        self._runner.read(self)
        if isinstance(self._done, BaseException):
            raise self._done
        assert self._done is not None
        return self._done.result()


class QueueingFakeRunner(FakeRunner):
    """A device that is as late as it may be: it computes when somebody waits for it.

    It checks what the engine promises to runners that queue: see ``check``. ``log`` has the
    calls as they were handed over and read.
    """

    queues_ahead = True
    #: Fail a call that names a slot which an earlier failure left undefined.
    refuses_undefined = False

    def __init__(self, **sizes: int) -> None:
        super().__init__(**sizes)
        self.log: list[tuple[str, str, tuple[int, ...]]] = []
        self._queue: list[_Queued] = []
        self._unread: list[_Queued] = []
        self._given: dict[int, set[int]] = {}
        self._undefined: set[int] = set()

    def prefill(self, rows: Sequence[Any]) -> Any:
        return self._hand_over("prefill", list(rows))

    def decode(self, rows: Sequence[Any]) -> Any:
        return self._hand_over("decode", list(rows))

    def execute(self, name: str, rows: list[Any]) -> CompletedStep:
        self._undefined -= {row.slot for row in rows if getattr(row, "begin", None) is not None}
        defined = [row for row in rows if row.slot not in self._undefined]
        if len(defined) < len(rows) and self.refuses_undefined:
            raise ValueError("a slot is undefined")
        try:
            result = super().prefill(defined) if name == "prefill" else super().decode(defined)
        except BaseException:
            self._undefined.update(row.slot for row in rows)
            raise
        given = iter(result.step.token_ids)
        # What a row gives whose slot is undefined is nonsense.
        tokens = [ord("?") if row.slot in self._undefined else next(given) for row in rows]
        logprobs = [TokenLogprobs(token, -0.5) for token in tokens]
        return CompletedStep(StepResult(tokens, logprobs))

    def read(self, call: _Queued) -> None:
        while call in self._queue:
            self._queue.pop(0).execute()
        if call in self._unread:
            self._unread.remove(call)
            self.log.append(("read", call.name, tuple(row.slot for row in call.rows)))

    def _hand_over(self, name: str, rows: list[Any]) -> _Queued:
        assert not self.closed
        self._check(rows)
        for row in rows:
            if getattr(row, "begin", None) is not None:
                self._given[row.slot] = set()
            self._given[row.slot].update(row.new_blocks)
        call = _Queued(self, name, rows)
        self._queue.append(call)
        self._unread.append(call)
        self.log.append(("start", name, tuple(row.slot for row in rows)))
        return call

    def _check(self, rows: list[Any]) -> None:
        """No slot begins anew, and no block changes hands, while a call that names it is unread."""
        busy = {row.slot for call in self._unread for row in call.rows}
        for row in rows:
            fresh = row.new_blocks
            begin = getattr(row, "begin", None)
            if begin is not None:
                assert row.slot not in busy
                fresh = fresh[len(begin.cached_token_ids) // self.capacity.block_size :]
            for slot in busy:
                assert not self._given[slot].intersection(fresh)


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
    """One engine over one fake runner.

    ``ahead`` is the number of steps handed over before an earlier one is read.
    """

    def __init__(
        self,
        runner: FakeRunner | None = None,
        model: FakeModel | None = None,
        **config: Any,
    ) -> None:
        self.runner = runner or FakeRunner()
        self.ahead = int(isinstance(self.runner, QueueingFakeRunner))
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
def harness_over() -> Iterator[Callable[..., Harness]]:
    """Makes harnesses over a kind of runner; at the end each is at its baseline and closes."""
    made: list[Harness] = []

    def make(kind: type[FakeRunner], **arguments: Any) -> Harness:
        runner_arguments = {
            name: arguments.pop(name)
            for name in ("max_slots", "num_blocks", "block_size")
            if name in arguments
        }
        if "runner" not in arguments:
            arguments["runner"] = kind(**runner_arguments)
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


@pytest.fixture(params=[FakeRunner, QueueingFakeRunner], ids=["plain", "queueing"])
def harness(request: pytest.FixtureRequest, harness_over: Any) -> Callable[..., Harness]:
    """Makes harnesses, over each kind of runner in turn."""
    return functools.partial(harness_over, request.param)


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
        QueueingRunner = QueueingFakeRunner
        Model = FakeModel
        Tokenizer = ByteTokenizer
        NoTokenizer = NoTokenizer
        Events = Events
        Harness = Harness

    return Fakes
