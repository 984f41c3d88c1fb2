"""Group ``engine``: the plugin behind an engine, with other requests and with trouble."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from sagellm_core.contract.engine import Engine, FinishReason
from sagellm_core.contract.errors import (
    EngineClosedError,
    InvalidRequestError,
)
from sagellm_core.contract.plugin import Capability
from sagellm_core.contract.sampling import SamplingParams
from sagellm_core.engine import Completion, EngineClient, TokenStream
from sagellm_core.testing.engines import answers, comes_true, course_of, opened_engine
from sagellm_core.testing.finding import fail, require, skip
from sagellm_core.testing.marks import group, needs, proves
from sagellm_core.testing.module_state import ModuleState
from sagellm_core.testing.refusing import refuses
from sagellm_core.testing.tiny.model import ANY_MODEL
from sagellm_core.testing.workbench import BLOCK_SIZE, Workbench

from .loading import closes_again

_COUNT = 20
#: Tokens of a request that is to be cancelled.
_LONGEST = 4096
_LENGTHS = (9, 30, 3, 17)
Prompts = list[tuple[int, ...]]


@pytest.fixture
def generator(bench: Workbench, conformance_state: ModuleState) -> str:
    """The first model with which the plugin generates, in one of the two ways."""
    for name in conformance_state.decoders:
        if bench.can_generate(name):
            return name
    return skip("The plugin can generate with none of the suite's models.")


@pytest.fixture
def prompts(bench: Workbench, generator: str) -> Prompts:
    """Prompts of different lengths."""
    return [bench.tiny(generator).prompt(length, seed=length) for length in _LENGTHS]


@group("engine")
@needs(Capability.GENERATE, Capability.ENGINE)
class TestEngine:
    """The plugin's own engine, or core's over its runner."""

    def test_greedy_answers_equal_the_reference(
        self, bench: Workbench, generator: str, prompts: Prompts
    ) -> None:
        """All together, and of the length that was asked for."""
        if generator == ANY_MODEL:
            skip("The plugin needs no model files: without weights there is no reference.")
        with opened_engine(bench, generator) as engine:
            for prompt, answer in zip(
                prompts, answers(bench, engine, prompts, _COUNT), strict=True
            ):
                require(
                    len(answer.token_ids) == _COUNT,
                    f"{_COUNT} tokens were asked for, and {len(answer.token_ids)} came.",
                )
                bench.judge(generator).check_greedy(course_of(prompt, answer))

    def test_a_preempted_request_gives_the_same(self, bench: Workbench, generator: str) -> None:
        """In a cache that is too small for all, requests give way and are computed again."""
        block_size = bench.block_size(generator)
        length, count = block_size - 4, 40
        most = -(-(length + count) // block_size)
        if length < 1 or length + count > bench.exact(generator).max_model_len:
            skip(f"Blocks of {block_size} tokens are too large, or too small, for this test.")
        prompts = [bench.tiny(generator).prompt(length, seed=seed) for seed in range(4)]
        context = {"max_model_len": length + count, "prefix_cache": False}
        with opened_engine(bench, generator, **context) as engine:
            roomy = answers(bench, engine, prompts, count)
        with opened_engine(bench, generator, **context, num_blocks=most + 2) as engine:
            tight = answers(bench, engine, prompts, count)
            stats = engine.stats()
        if stats.blocks_total and not stats.preemptions:
            skip("No request was preempted.")
        self._check_same(bench, generator, prompts, roomy, tight, "After a preemption")

    def test_a_prefix_is_found_again(self, bench: Workbench, generator: str) -> None:
        """Requests that begin alike share blocks, and their answers are what they would be."""
        block_size = bench.block_size(generator)
        tiny = bench.tiny(generator)
        shared = tiny.prompt(2 * block_size + 1, seed=91)
        prompts = [shared + tiny.prompt(5, seed=seed) for seed in (1, 2, 3)]
        limit = {"max_model_len": len(prompts[0]) + _COUNT}
        if limit["max_model_len"] > bench.exact(generator).max_model_len:
            skip(f"Blocks of {block_size} tokens are too large for this test.")
        with opened_engine(bench, generator, **limit, prefix_cache=False) as engine:
            plain = answers(bench, engine, prompts, _COUNT)
        with opened_engine(bench, generator, **limit) as engine:
            cached = [answers(bench, engine, [prompt], _COUNT)[0] for prompt in prompts]
        self._check_same(bench, generator, prompts, plain, cached, "With a prefix from the cache")
        found = [answer.usage.cached_tokens for answer in cached if answer.usage is not None]
        if not any(found) and not _shares(bench, generator):
            skip("The runner says that its blocks cannot be shared.")
        require(
            found[0] == 0 and all(found[1:]),
            f"Three prompts with {len(shared)} tokens in common found {found} of them in the "
            "cache.",
        )

    def test_cancelling_frees_everything(
        self, bench: Workbench, generator: str, prompts: Prompts
    ) -> None:
        """A request that is cancelled ends at once, and its blocks are free."""
        with _endless_engine(bench, generator) as engine:
            stream = _begun(bench, engine, prompts[0])
            require(engine.cancel(stream.request_id), "cancel() says that nothing was under way.")
            last = list(stream)[-1]
            require(
                last.finish_reason is FinishReason.CANCELLED,
                f"A cancelled request ends with {last.finish_reason}, not cancelled.",
            )
            require(
                not engine.cancel(stream.request_id), "cancel() of a request that is over is True."
            )
            self._check_free(engine, "a request was cancelled")
            answers(bench, engine, prompts, 5)
            self._check_free(engine, "all requests were answered")

    def test_closing_ends_requests(
        self, bench: Workbench, generator: str, prompts: Prompts
    ) -> None:
        """With EngineClosedError; later ones are refused; and a second close does nothing."""
        with _endless_engine(bench, generator) as engine:
            stream = _begun(bench, engine, prompts[0])
            engine.close()
            with refuses("A request when its engine is closed", EngineClosedError):
                list(stream)
            with refuses("A request to a closed engine", EngineClosedError):
                answers(bench, engine, prompts[:1], 1)
            closes_again(engine.close, "Engine.close")

    def test_impossible_requests_are_refused(self, bench: Workbench, generator: str) -> None:
        """Empty, or longer than the context."""
        tiny = bench.tiny(generator)
        with opened_engine(bench, generator) as engine:
            with refuses("A prompt without tokens", InvalidRequestError):
                answers(bench, engine, [()], 1)
            long = tiny.prompt(engine.max_model_len + 1, seed=1)
            with refuses("A prompt longer than the context", InvalidRequestError):
                answers(bench, engine, [long], 1)

    def test_text_and_usage_fit_the_tokens(
        self, bench: Workbench, generator: str, prompts: Prompts
    ) -> None:
        """The text is what the tokens decode to, but for half a character at its end."""
        with opened_engine(bench, generator) as engine:
            for prompt, answer in zip(
                prompts, answers(bench, engine, prompts, _COUNT), strict=True
            ):
                text = engine.tokenizer.decode(answer.token_ids)
                half = "\N{REPLACEMENT CHARACTER}"
                require(
                    answer.text.rstrip(half) == text.rstrip(half),
                    f"The text is {answer.text!r}, and its tokens decode to {text!r}.",
                )
                usage = answer.usage
                require(
                    usage is not None
                    and (usage.prompt_tokens, usage.completion_tokens) == (len(prompt), _COUNT),
                    f"usage is {usage}, for {len(prompt)} and {_COUNT} tokens.",
                )

    def _check_same(
        self,
        bench: Workbench,
        generator: str,
        prompts: Prompts,
        wanted: list[Completion],
        found: list[Completion],
        how: str,
    ) -> None:
        for prompt, one, other in zip(prompts, wanted, found, strict=True):
            bench.judge(generator).check_same(course_of(prompt, one), course_of(prompt, other), how)

    def _check_free(self, engine: Engine, after: str) -> None:
        def free() -> bool:
            stats = engine.stats()
            return not (stats.running or stats.waiting or stats.blocks_total - stats.blocks_free)

        if not comes_true(free):
            stats = engine.stats()
            fail(
                f"After {after}, {stats.running} are running, {stats.waiting} are waiting, and "
                f"{stats.blocks_total - stats.blocks_free} of {stats.blocks_total} blocks are not "
                "free."
            )


@group("engine")
@needs(Capability.ENGINE)
class TestOwnEngine:
    """What a plugin with an engine of its own declares."""

    @proves(Capability.ENGINE, unweighted=(Capability.ENGINE, Capability.ANY_MODEL))
    def test_it_opens_an_engine_of_its_own(
        self, bench: Workbench, generator: str, prompts: Prompts
    ) -> None:
        """Through ``sagellm_open_engine``; the same request twice gives the same."""
        if not bench.provider(generator).has_engine:
            fail("The plugin declares 'engine' and does not implement sagellm_open_engine.")
        with opened_engine(bench, generator) as engine:
            first, second = (answers(bench, engine, prompts, _COUNT) for _ in range(2))
        for prompt, one, other in zip(prompts, first, second, strict=True):
            bench.judge(generator).check_same(
                course_of(prompt, one), course_of(prompt, other), "Asked twice"
            )

    @needs(Capability.ENGINE)
    def test_closing_leaves_the_model_open(self, bench: Workbench, generator: str) -> None:
        """A second engine over the same model answers when the first is closed."""
        prompt = bench.tiny(generator).prompt(5, seed=5)
        for _ in range(2):
            with opened_engine(bench, generator) as engine:
                answers(bench, engine, [prompt], 3)


def _endless_engine(bench: Workbench, name: str) -> AbstractContextManager[Engine]:
    """An engine with the longest context there is, so that requests are not over too soon."""
    context = min(bench.exact(name).max_model_len, _LONGEST)
    return opened_engine(
        bench, name, max_model_len=context, num_blocks=-(-context // BLOCK_SIZE) + 8
    )


def _begun(bench: Workbench, engine: Engine, prompt: tuple[int, ...]) -> TokenStream:
    """A request that has its first token, and would fill the context."""
    sampling = SamplingParams(temperature=0.0, ignore_eos=True)
    patience = bench.subject.declaration.time_limit / 2
    stream = EngineClient(engine).stream(prompt, sampling, timeout=patience)
    next(stream)
    return stream


def _shares(bench: Workbench, name: str) -> bool:
    if not bench.provider(name).has_runner:
        return False  # an engine of its own need not tell
    with bench.runner(name) as runner:
        return runner.capacity.shareable
