"""Engines over the plugin under test, which are closed in the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sagellm_core.contract.engine import Engine, EngineConfig
from sagellm_core.contract.errors import RequestTimeoutError, SageLLMError
from sagellm_core.contract.model import LoadedModel
from sagellm_core.contract.runner import Runner
from sagellm_core.contract.sampling import SamplingParams
from sagellm_core.engine import Completion, EngineClient, LLMEngine
from sagellm_core.engine.limits import runner_config

from .drive import GREEDY, Course
from .finding import fail
from .workbench import BLOCK_SIZE, BLOCKS, CONTEXT, Workbench

_SETTINGS: dict[str, Any] = {
    "max_model_len": CONTEXT,
    "max_num_seqs": 4,
    "max_prefill_tokens": 64,
    "block_size": BLOCK_SIZE,
    "num_blocks": BLOCKS,
}
#: Of a test's time, so much is an answer waited for: the rest is for closing.
_SHARE = 0.6


@contextlib.contextmanager
def opened_engine(bench: Workbench, name: str, **changes: Any) -> Iterator[Engine]:
    """The plugin's own engine where it has one, else core's over its runner.

    :param changes: over the suite's settings of ``EngineConfig``.
    """
    config = EngineConfig(**{**_SETTINGS, **changes})
    with _closing(
        LLMEngine.open(bench.provider(name), bench.exact(name), config, own_model=False)
    ) as engine:
        yield engine


@contextlib.contextmanager
def engine_over(
    bench: Workbench, name: str, wrap: Callable[[Runner], Runner], **changes: Any
) -> Iterator[Engine]:
    """Core's engine over the plugin's runner with something between the two."""
    model: LoadedModel = bench.exact(name)
    config = EngineConfig(**{**_SETTINGS, **changes})
    runner = bench.provider(name).open_runner(model, runner_config(model, config))
    with _closing(LLMEngine(model, wrap(runner), config, own_model=False)) as engine:
        yield engine


@contextlib.contextmanager
def _closing(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    except RequestTimeoutError as error:
        # Its thread is in the provider's step: closing would wait for that, too.
        fail(f"The engine gave no answer: a step of the provider does not return. {error.message}")
    except BaseException:
        with contextlib.suppress(SageLLMError):
            engine.close()
        raise
    engine.close()


def answers(
    bench: Workbench,
    engine: Engine,
    prompts: Sequence[tuple[int, ...]],
    count: int,
    *,
    return_errors: bool = False,
) -> list[Completion]:
    """Greedy answers of ``count`` tokens."""
    sampling = SamplingParams(temperature=0.0, max_tokens=count, ignore_eos=True)
    patience = bench.subject.declaration.time_limit * _SHARE
    return EngineClient(engine).generate(
        prompts, sampling, timeout=patience, return_errors=return_errors
    )


def course_of(prompt: tuple[int, ...], completion: Completion) -> Course:
    """An answer, for the judge."""
    tokens = list(completion.token_ids)
    return Course(prompt=prompt, sampling=GREEDY, tokens=tokens, logprobs=[None] * len(tokens))


def comes_true(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether a condition holds within some seconds; it is looked at again and again."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
