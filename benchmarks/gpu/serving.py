"""An engine over a provider, and requests that are followed token by token."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sagellm_core.contract import (
    EngineConfig,
    GenerationRequest,
    LoadedModel,
    LoadOptions,
    SamplingParams,
    TokenEvent,
)
from sagellm_core.engine import LLMEngine
from sagellm_core.providers import Controls, choose_provider, load_provider


@dataclass(frozen=True, slots=True)
class Served:
    """An open engine, and the model that it computes."""

    engine: LLMEngine
    model: LoadedModel
    load_s: float


@contextmanager
def serving(folder: Path, backend: str, config: EngineConfig, dtype: str) -> Iterator[Served]:
    """Open an engine as a user's would be, by the provider's name."""
    begin = time.perf_counter()
    choice = choose_provider(str(folder), Controls.from_environment(backend=backend))
    provider = load_provider(choice)
    model = provider.load_model(LoadOptions(dtype=dtype, quantization="none"))
    with LLMEngine.open(provider, model, config) as engine:
        yield Served(engine, model, time.perf_counter() - begin)


@dataclass(frozen=True, slots=True)
class Course:
    """When a request's tokens came, in seconds from when all were handed in."""

    first_s: float
    last_s: float
    tokens: int


def follow(
    engine: LLMEngine, prompts: Sequence[Sequence[int]], sampling: Sequence[SamplingParams]
) -> list[Course]:
    """Hand all requests in and wait for all of them.

    :raises SageLLMError: one of them failed.
    """
    times: list[list[float]] = [[] for _ in prompts]
    counts = [0] * len(prompts)
    errors: list[BaseException] = []
    over = threading.Semaphore(0)
    begin = time.perf_counter()

    def sink(event: TokenEvent) -> None:
        index = int(event.request_id)
        if event.token_ids:
            times[index].append(time.perf_counter() - begin)
            counts[index] += len(event.token_ids)
        if event.last:
            if event.error is not None:
                errors.append(event.error)
            over.release()

    for index, (prompt, wanted) in enumerate(zip(prompts, sampling, strict=True)):
        request = GenerationRequest(
            request_id=str(index), prompt_token_ids=tuple(prompt), sampling=wanted
        )
        engine.submit(request, sink)
    for _ in prompts:
        over.acquire()
    if errors:
        raise errors[0]
    return [
        Course(moments[0], moments[-1], count) for moments, count in zip(times, counts, strict=True)
    ]
