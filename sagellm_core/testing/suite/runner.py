"""Group ``contract``: the runner's own promises, whatever the model."""

from __future__ import annotations

import math

from sagellm_core.contract.errors import ConfigurationError, EngineError, SageLLMError
from sagellm_core.contract.plugin import Capability
from sagellm_core.contract.runner import DecodeRow, PrefillRow, SlotStart
from sagellm_core.testing.drive import GREEDY, Course, Drive
from sagellm_core.testing.finding import fail, require, skip
from sagellm_core.testing.marks import group, needs
from sagellm_core.testing.memory import growth
from sagellm_core.testing.module_state import ModuleState
from sagellm_core.testing.refusing import refuses
from sagellm_core.testing.workbench import BLOCKS, SLOTS, Workbench

from .loading import closes_again

#: Bytes of the caches whose memory is looked for.
_LARGE_CACHE = 48 * 2**20
_WARM, _CYCLES = 2, 4


@group("contract")
@needs(Capability.GENERATE, Capability.ENGINE)
class TestRunner:
    """``sagellm_open_runner`` and what it opens."""

    def test_the_cache_is_as_asked_for(self, bench: Workbench, one_decoder: str) -> None:
        """As many blocks as were asked for, of a size that it says."""
        with bench.runner(one_decoder) as runner:
            capacity = runner.capacity
            require(
                capacity.num_blocks == BLOCKS,
                f"{BLOCKS} blocks were asked for, and capacity has {capacity.num_blocks}.",
            )
            require(capacity.block_size >= 1, f"capacity.block_size is {capacity.block_size}.")
            require(
                capacity.bytes_per_block >= 1,
                f"capacity.bytes_per_block is {capacity.bytes_per_block}.",
            )
            require(
                1 <= runner.max_slots <= SLOTS,
                f"{SLOTS} slots were asked for, and max_slots is {runner.max_slots}.",
            )

    def test_a_context_beyond_the_models_is_refused(
        self, bench: Workbench, one_decoder: str
    ) -> None:
        """``max_model_len`` above :attr:`LoadedModel.max_model_len`."""
        longest = bench.exact(one_decoder).max_model_len
        with (
            refuses("A max_model_len beyond the model's", ConfigurationError),
            bench.runner(one_decoder, max_model_len=longest + 1),
        ):
            pass

    def test_a_cache_that_holds_nothing_is_refused(
        self, bench: Workbench, one_decoder: str
    ) -> None:
        """``kv_memory_bytes`` for less than one block."""
        with (
            refuses("A KV cache of one byte", SageLLMError),
            bench.runner(one_decoder, num_blocks=None, kv_memory_bytes=1),
        ):
            pass

    def test_a_foreign_block_is_refused(self, bench: Workbench, one_decoder: str) -> None:
        """A block number that the cache does not have."""
        with bench.runner(one_decoder) as runner:
            row = _first_row(bench, one_decoder, blocks=(runner.capacity.num_blocks,))
            with refuses("A block that the cache does not have", EngineError):
                runner.prefill([row]).result()
            with refuses("A block with a negative number", EngineError):
                runner.prefill([_first_row(bench, one_decoder, blocks=(-1,))]).result()

    def test_too_few_blocks_are_refused(self, bench: Workbench, one_decoder: str) -> None:
        """Tokens that the slot's blocks do not hold."""
        with bench.runner(one_decoder) as runner:
            row = _first_row(bench, one_decoder, blocks=(), tokens=runner.capacity.block_size)
            with refuses("A prefill without blocks", EngineError):
                runner.prefill([row]).result()

    def test_a_slot_that_was_never_begun_is_refused(
        self, bench: Workbench, one_decoder: str
    ) -> None:
        """Decoding, or going on with a prefill, where there is no sequence."""
        with bench.runner(one_decoder) as runner:
            with refuses("A decode of a slot that was never begun", EngineError):
                runner.decode([DecodeRow(0, (0,))]).result()
            row = PrefillRow(slot=0, token_ids=(5,), start=3, new_blocks=(0,), begin=None)
            with refuses("A chunk of a sequence that was never begun", EngineError):
                runner.prefill([row]).result()

    def test_other_slots_survive_a_refusal(self, bench: Workbench, one_decoder: str) -> None:
        """A call that raises leaves the slots that it did not name as they were."""
        tiny = bench.tiny(one_decoder)
        course = Course(prompt=tiny.prompt(9, seed=21))
        expected = bench.alone(one_decoder, course, 8)
        with bench.runner(one_decoder) as runner:
            drive = Drive(runner, bench.vocab_size(bench.exact(one_decoder)))
            drive.run([course], 3)
            row = _first_row(bench, one_decoder, blocks=(runner.capacity.num_blocks,), slot=1)
            with refuses("A block that the cache does not have", EngineError):
                runner.prefill([row]).result()
            while len(course.tokens) < 8:
                drive.decode([course])
        bench.judge(one_decoder).check_same(expected, course, "After a refused call")

    def test_calls_after_close_are_refused(self, bench: Workbench, one_decoder: str) -> None:
        """A closed runner neither computes nor crashes."""
        runner = bench.open_runner(one_decoder)
        runner.prefill([_first_row(bench, one_decoder, blocks=(0,))]).result()
        runner.close()
        with refuses("A prefill after close()", EngineError):
            runner.prefill([_first_row(bench, one_decoder, blocks=(0,))]).result()
        with refuses("A decode after close()", EngineError):
            runner.decode([DecodeRow(0)]).result()

    def test_runners_close_twice(self, bench: Workbench, one_decoder: str) -> None:
        """``Runner.close`` may be called twice, and leaves the model open."""
        with bench.runner(one_decoder) as runner:
            runner.close()
            closes_again(runner.close, "Runner.close")
        with bench.runner(one_decoder) as another:
            another.prefill([_first_row(bench, one_decoder, blocks=(0,))]).result()

    def test_closed_runners_return_their_memory(self, bench: Workbench, one_decoder: str) -> None:
        """Opened and closed again and again, caches do not add up, even while referred to."""
        loaded = bench.exact(one_decoder)
        with bench.runner(one_decoder) as runner:
            each = runner.capacity.bytes_per_block
        blocks = math.ceil(_LARGE_CACHE / each)
        row = _first_row(bench, one_decoder, blocks=(0,))
        kept = []

        def cycle() -> None:
            with bench.runner(one_decoder, loaded, num_blocks=blocks) as runner:
                runner.prefill([row]).result()
            kept.append(runner)

        free = bench.subject.free_memory()
        grown = growth(cycle, warm=_WARM, times=_CYCLES)
        left = bench.subject.free_memory()
        if grown is not None and grown > 2 * blocks * each:
            fail(
                f"{_CYCLES} runners with caches of {blocks * each / 2**20:.0f} MiB were opened and "
                f"closed, and the process holds {grown / 2**20:.0f} MiB more."
            )
        if free is not None and left is not None and free - left > 3 * blocks * each:
            fail(
                f"{_WARM + _CYCLES} runners with caches of {blocks * each / 2**20:.0f} MiB were "
                f"opened and closed, and the device has {(free - left) / 2**20:.0f} MiB less free."
            )
        if grown is None and free is None:
            skip("This system does not tell how much memory a process holds.")

    def test_two_runners_over_one_model(self, bench: Workbench, one_decoder: str) -> None:
        """They do not disturb each other, and one goes on when the other is closed."""
        tiny = bench.tiny(one_decoder)
        courses = [Course(prompt=tiny.prompt(length, seed=length)) for length in (7, 19)]
        expected = [bench.alone(one_decoder, course, 10) for course in courses]
        with bench.drive(one_decoder) as first:
            with bench.drive(one_decoder) as second:
                _alternate(first, second, courses, 5)
            while len(courses[0].tokens) < 10:
                first.decode([courses[0]])
        judge = bench.judge(one_decoder)
        judge.check_same(expected[0], courses[0], "Beside another runner over the same model")
        judge.check_same(expected[1].cut(5), courses[1], "Beside another runner over the model")

    def test_two_models_at_once(
        self, bench: Workbench, one_decoder: str, conformance_state: ModuleState
    ) -> None:
        """Two loaded models, perhaps of two families, with a runner each."""
        tiny = bench.tiny(one_decoder)
        others = [name for name in conformance_state.decoders if name != one_decoder]
        other = next((name for name in others if bench.can_generate(name)), one_decoder)
        courses = [
            Course(prompt=tiny.prompt(11, seed=31)),
            Course(prompt=bench.tiny(other).prompt(13, seed=32)),
        ]
        expected = [
            bench.alone(name, course, 8)
            for name, course in zip((one_decoder, other), courses, strict=True)
        ]
        second = bench.load_exactly(other)
        try:
            with bench.drive(one_decoder) as one, bench.drive(other, second) as two:
                _alternate(one, two, courses, 8)
        finally:
            second.close()
        for name, wanted, course in zip((one_decoder, other), expected, courses, strict=True):
            bench.judge(name).check_same(wanted, course, "Beside another model")


def _first_row(
    bench: Workbench, decoder: str, *, blocks: tuple[int, ...], tokens: int = 3, slot: int = 0
) -> PrefillRow:
    """The beginning of a sequence."""
    prompt = bench.tiny(decoder).prompt(tokens, seed=41)
    begin = SlotStart(sampling=GREEDY, prompt_len=tokens)
    return PrefillRow(slot=slot, token_ids=prompt, start=0, new_blocks=blocks, begin=begin)


def _alternate(first: Drive, second: Drive, courses: list[Course], count: int) -> None:
    """One sequence on each of two runners, step by step in turns."""
    for drive, course in zip((first, second), courses, strict=True):
        drive.place(course, 0)
        drive.prefill([course])
    while any(len(course.tokens) < count for course in courses):
        for drive, course in zip((first, second), courses, strict=True):
            if len(course.tokens) < count:
                drive.decode([course])
