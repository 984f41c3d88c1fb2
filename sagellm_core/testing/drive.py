"""Takes sequences through a runner, step by step, as core's engine does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import index

from sagellm_core.contract.runner import (
    DecodeRow,
    PrefillRow,
    Runner,
    SlotStart,
    StepHandle,
    StepResult,
    TokenLogprobs,
)
from sagellm_core.contract.sampling import SamplingParams

from .blocks import BlockSource
from .finding import fail, require

GREEDY = SamplingParams(temperature=0.0, seed=0)


@dataclass(slots=True, kw_only=True)
class Course:
    """One sequence on its way through a runner."""

    prompt: tuple[int, ...]
    sampling: SamplingParams = GREEDY
    #: Most tokens of one prefill call; ``None``: all of them at once.
    chunk: int | None = None
    #: Output that is computed again, as after a preemption.
    resumed: tuple[int, ...] = ()
    #: Tokens at the front that stand in blocks of another sequence already.
    cached: int = 0
    shared_blocks: tuple[int, ...] = ()
    #: What was sampled.
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs | None] = field(default_factory=list)
    slot: int = -1
    blocks: list[int] = field(default_factory=list)
    #: Tokens in the cache.
    length: int = 0

    def cut(self, count: int) -> Course:
        """The same with its first tokens alone."""
        return Course(
            prompt=self.prompt,
            sampling=self.sampling,
            tokens=self.tokens[:count],
            logprobs=self.logprobs[:count],
        )

    @property
    def given(self) -> tuple[int, ...]:
        """All that is prefilled."""
        return self.prompt + self.resumed


class Drive:
    """Owns the slots and blocks of one runner; whatever comes back is checked.

    :param vocab_size: ids that are sampled are below it.
    :param scattered: see :class:`BlockSource`.
    """

    def __init__(self, runner: Runner, vocab_size: int, *, scattered: bool = False) -> None:
        self._runner = runner
        self._vocab_size = vocab_size
        self._blocks = BlockSource(runner.capacity, scattered=scattered)
        self._slots: dict[int, Course] = {}

    @property
    def block_size(self) -> int:
        """Tokens of a block."""
        return self._blocks.block_size

    @property
    def shareable(self) -> bool:
        """Whether sequences may share blocks."""
        return self._runner.capacity.shareable

    def run(self, courses: Sequence[Course], count: int) -> list[list[int]]:
        """Take several sequences along together until each has ``count`` tokens.

        As in an engine's step, what is still to be prefilled goes first, a chunk of each; then
        all that were prefilled before are decoded.
        """
        for number, course in enumerate(courses):
            self.place(course, number)
        while pending := [course for course in courses if len(course.tokens) < count]:
            ready = [course for course in pending if course.tokens]
            unready = [course for course in pending if not course.tokens]
            if unready:
                self.prefill(unready)
            if ready:
                self.decode(ready)
        return [course.tokens for course in courses]

    def place(self, course: Course, slot: int) -> None:
        """Give a slot to a sequence; what held it before is gone."""
        former = self._slots.pop(slot, None)
        if former is not None:
            self._blocks.give_back(former.blocks[len(former.shared_blocks) :])
        course.slot, course.length = slot, 0
        self._slots[slot] = course

    def prefill(self, courses: Sequence[Course]) -> None:
        """The next chunk of each."""
        rows = [self._prefill_row(course) for course in courses]
        result = self._checked("prefill", self._runner.prefill(rows), len(rows))
        for position, (row, course) in enumerate(zip(rows, courses, strict=True)):
            course.length += len(row.token_ids)
            token = index(result.token_ids[position])
            if row.sample:
                self._note(course, token, result, position)
            else:
                require(token == -1, f"prefill sampled {token} for a row that asked for none.")

    def decode(self, courses: Sequence[Course]) -> None:
        """One more token for each."""
        rows = [DecodeRow(course.slot, self._grow(course, 1)) for course in courses]
        result = self._checked("decode", self._runner.decode(rows), len(rows))
        for position, course in enumerate(courses):
            course.length += 1
            self._note(course, index(result.token_ids[position]), result, position)

    def _prefill_row(self, course: Course) -> PrefillRow:
        begin = None
        start = course.length
        gained: tuple[int, ...] = ()
        if not course.length:
            start = course.cached
            course.length = start
            course.blocks = list(course.shared_blocks)
            gained = course.shared_blocks
            begin = SlotStart(
                sampling=course.sampling,
                prompt_len=len(course.prompt),
                cached_token_ids=course.given[: course.cached],
            )
        tokens = course.given[start : None if course.chunk is None else start + course.chunk]
        return PrefillRow(
            slot=course.slot,
            token_ids=tokens,
            start=start,
            new_blocks=gained + self._grow(course, len(tokens)),
            begin=begin,
            sample=start + len(tokens) == len(course.given),
        )

    def _grow(self, course: Course, tokens: int) -> tuple[int, ...]:
        taken = self._blocks.take(len(course.blocks), course.length + tokens)
        course.blocks.extend(taken)
        return taken

    def _checked(self, call: str, handle: StepHandle, rows: int) -> StepResult:
        require(
            callable(getattr(handle, "result", None)),
            f"{call} returned {type(handle).__name__}, which has no result().",
        )
        result = handle.result()
        require(
            isinstance(result, StepResult),
            f"result() of {call} is a {type(result).__name__}, not a StepResult.",
        )
        again = handle.result()
        require(
            list(again.token_ids) == list(result.token_ids),
            f"result() of {call} gave other tokens when it was asked twice.",
        )
        require(
            len(result.token_ids) == rows,
            f"{call} returned {len(result.token_ids)} tokens for {rows} rows.",
        )
        require(
            result.logprobs is None or len(result.logprobs) == rows,
            f"{call} returned {len(result.logprobs or ())} log-probabilities for {rows} rows.",
        )
        return result

    def _note(self, course: Course, token: int, result: StepResult, position: int) -> None:
        if not 0 <= token < self._vocab_size:
            fail(f"Token {token} was sampled, outside the vocabulary of {self._vocab_size}.")
        course.tokens.append(token)
        course.logprobs.append(None if result.logprobs is None else result.logprobs[position])
