"""Group ``numeric``: tokens are right, however the work is cut up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sagellm_core.contract.model import LoadedModel
from sagellm_core.contract.plugin import Capability
from sagellm_core.contract.sampling import SamplingParams
from sagellm_core.testing.drive import GREEDY, Course
from sagellm_core.testing.finding import skip
from sagellm_core.testing.marks import group, needs, proves
from sagellm_core.testing.tiny.model import ANY_MODEL, TinyModel
from sagellm_core.testing.workbench import BLOCK_SIZE, Workbench

#: Tokens of an answer: across the ends of blocks, and past every sliding window.
_COUNT = 24
#: Lengths of prompts: one token; within, at, and beyond the end of a block.
_LENGTHS = (1, 5, BLOCK_SIZE, BLOCK_SIZE + 1, 41)
_UNWEIGHTED = (Capability.GENERATE, Capability.ANY_MODEL)


@pytest.fixture
def settings(bench: Workbench) -> SamplingParams:
    """Greedy, and with log-probabilities where there are some: they show more than a choice."""
    if Capability.LOGPROBS in bench.subject.declaration.capabilities:
        return SamplingParams(temperature=0.0, seed=0, logprobs=3)
    return GREEDY


def courses_of(tiny: TinyModel, settings: SamplingParams, lengths: Sequence[int]) -> list[Course]:
    """Sequences with random prompts of these lengths."""
    return [
        Course(prompt=tiny.prompt(length, seed=length), sampling=settings) for length in lengths
    ]


@group("numeric")
@needs(Capability.GENERATE, Capability.ENGINE)
class TestDecoding:
    """One case a family of models."""

    @proves(Capability.GENERATE)
    def test_greedy_tokens_equal_the_reference(
        self, bench: Workbench, decoder: str, settings: SamplingParams
    ) -> None:
        """Every token is the one that the formulas give, in float64 and without a cache."""
        tiny, judge = _with_reference(bench, decoder), bench.judge(decoder)
        for course in courses_of(tiny, settings, _LENGTHS):
            judge.check_greedy(bench.alone(decoder, course, _COUNT))

    def test_default_options_are_near_the_reference(
        self, bench: Workbench, decoder: str, settings: SamplingParams
    ) -> None:
        """The dtype and quantization that users get, within what these allow."""
        tiny = _with_reference(bench, decoder)
        loaded: LoadedModel = bench.load(tiny.description)
        try:
            judge = bench.judge(decoder, loaded)
            for course in courses_of(tiny, settings, (5, 41)):
                with bench.drive(decoder, loaded) as drive:
                    drive.run([course], _COUNT)
                judge.check_greedy(course)
        finally:
            loaded.close()

    @needs(Capability.LOGPROBS)
    @proves(Capability.LOGPROBS)
    def test_logprobs_equal_the_reference(self, bench: Workbench, decoder: str) -> None:
        """Under the model's own distribution, before temperature and filters."""
        tiny = _with_reference(bench, decoder)
        asked = SamplingParams(temperature=0.7, top_k=20, seed=3, logprobs=5)
        for course in courses_of(tiny, asked, _LENGTHS):
            with bench.drive(decoder) as drive:
                drive.run([course], _COUNT)
            bench.judge(decoder).check_logprobs(course)

    @proves(unweighted=_UNWEIGHTED)
    @pytest.mark.parametrize("chunk", [1, 7, BLOCK_SIZE, BLOCK_SIZE + 3])
    def test_chunked_equals_whole_prefill(
        self, bench: Workbench, decoder: str, settings: SamplingParams, chunk: int
    ) -> None:
        """A prompt in chunks gives what it gives in one piece."""
        (course,) = courses_of(_with_runner(bench, decoder), settings, (41,))
        whole = bench.alone(decoder, course, _COUNT)
        course.chunk = chunk
        with bench.drive(decoder) as drive:
            drive.run([course], _COUNT)
        bench.judge(decoder).check_same(whole, course, f"With chunks of {chunk} tokens")

    def test_decode_equals_full_forward(
        self, bench: Workbench, decoder: str, settings: SamplingParams
    ) -> None:
        """Each token after the prompt is what a prefill of all tokens before it gives."""
        (course,) = courses_of(_with_runner(bench, decoder), settings, (13,))
        decoded = bench.alone(decoder, course, _COUNT)
        judge = bench.judge(decoder)
        with bench.drive(decoder) as drive:
            for number in range(_COUNT):
                again = Course(
                    prompt=course.prompt,
                    sampling=settings,
                    resumed=tuple(decoded.tokens[:number]),
                )
                drive.run([again], 1)
                # Seen as a run that shares its beginning, so that a near tie can be told.
                judge.check_same(
                    decoded.cut(number + 1),
                    _joined(decoded, again, number),
                    f"Computed anew in one prefill of {len(again.given)} tokens",
                )

    def test_batched_equals_alone(
        self, bench: Workbench, decoder: str, settings: SamplingParams
    ) -> None:
        """Sequences of different lengths together, some of them still in their prefill."""
        tiny = _with_runner(bench, decoder)
        courses = courses_of(tiny, settings, _LENGTHS)
        alone = [bench.alone(decoder, course, _COUNT) for course in courses]
        for chunk in (None, 6):
            together = courses_of(tiny, settings, _LENGTHS)[::-1]
            for course in together:
                course.chunk = chunk
            with bench.drive(decoder) as drive:
                drive.run(together, _COUNT)
            cut = "whole prompts" if chunk is None else f"chunks of {chunk} tokens"
            for wanted, course in zip(alone, together[::-1], strict=True):
                bench.judge(decoder).check_same(
                    wanted, course, f"In a batch of {len(courses)}, with {cut}"
                )

    def test_scattered_equals_contiguous_blocks(
        self, bench: Workbench, decoder: str, settings: SamplingParams
    ) -> None:
        """It does not matter where in the cache a sequence's blocks are."""
        tiny = _with_runner(bench, decoder)
        courses = courses_of(tiny, settings, (41, 5, 17))
        alone = [bench.alone(decoder, course, _COUNT) for course in courses]
        # Every block is somebody's, so that whoever goes astray finds another's.
        size = bench.block_size(decoder)
        needed = sum(-(-(len(course.prompt) + _COUNT) // size) for course in courses)
        with bench.drive(decoder, scattered=True, num_blocks=needed) as drive:
            drive.run(courses, _COUNT)
        for wanted, course in zip(alone, courses, strict=True):
            bench.judge(decoder).check_same(wanted, course, "With scattered blocks")

    def test_a_slot_forgets(self, bench: Workbench, decoder: str, settings: SamplingParams) -> None:
        """A sequence in a slot, and in blocks, that others have used."""
        tiny = _with_runner(bench, decoder)
        first, second = courses_of(tiny, settings, (41, 9))
        expected = bench.alone(decoder, second, _COUNT)
        with bench.drive(decoder, num_blocks=6) as drive:
            drive.run([first], 30)
            drive.run([second], _COUNT)
        bench.judge(decoder).check_same(expected, second, "In a slot that another sequence had")

    def test_a_cached_prefix_equals_whole_prefill(
        self, bench: Workbench, decoder: str, settings: SamplingParams
    ) -> None:
        """A sequence that begins with full blocks of another one gives what it gives alone."""
        tiny = _with_runner(bench, decoder)
        cached = 2 * bench.block_size(decoder)
        (first,) = courses_of(tiny, settings, (cached + 9,))
        context = cached + 9 + _COUNT + 5
        if context > bench.exact(decoder).max_model_len:
            skip(f"Two blocks of {cached // 2} tokens are more than the model takes.")
        with bench.drive(decoder, max_model_len=context) as drive:
            if not drive.shareable:
                skip("The runner says that its blocks cannot be shared.")
            drive.run([first], 5)
            second = Course(
                prompt=first.prompt[:cached] + tiny.prompt(9, seed=99),
                sampling=settings,
                cached=cached,
                shared_blocks=tuple(first.blocks[:2]),
            )
            drive.place(second, 1)
            drive.prefill([second])
            while len(second.tokens) < _COUNT:
                drive.decode([first, second])
        judge = bench.judge(decoder)
        judge.check_same(bench.alone(decoder, second, _COUNT), second, "With a cached prefix")
        count = len(first.tokens)
        judge.check_same(
            bench.alone(decoder, first, count), first, "While another sequence shares its blocks"
        )


def _with_runner(bench: Workbench, decoder: str) -> TinyModel:
    """The family's model; skips where the plugin opens no runner over it."""
    return bench.tiny(bench.has_runner(decoder))


def _with_reference(bench: Workbench, decoder: str) -> TinyModel:
    if decoder == ANY_MODEL:
        skip("The plugin needs no model files: without weights there is no reference.")
    return _with_runner(bench, decoder)


def _joined(course: Course, again: Course, number: int) -> Course:
    """A sequence's first tokens, and the one that was computed again after them."""
    joined = course.cut(number)
    joined.tokens += again.tokens
    joined.logprobs += again.logprobs
    return joined
