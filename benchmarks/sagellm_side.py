"""sagellm through its own engine: what a caller of the Python API gets."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from sagellm_core.contract import EngineConfig, LoadOptions, SamplingParams
from sagellm_core.engine import EngineClient, LLMEngine
from sagellm_core.providers import Controls, choose_provider, load_provider


class SagellmSide:
    """The engine with its default limits over the discovered provider ``cpu``."""

    def __init__(
        self, reference: str, *, max_model_len: int, provider_options: Mapping[str, Any]
    ) -> None:
        choice = choose_provider(reference, Controls.from_environment(backend="cpu"))
        provider = load_provider(choice)
        model = provider.load_model(LoadOptions(provider_options=provider_options))
        config = EngineConfig(max_model_len=max_model_len)
        self._engine = LLMEngine.open(provider, model, config)
        self._client = EngineClient(self._engine)

    def generate(self, prompts: list[list[int]], count: int) -> tuple[float, list[list[int]]]:
        """Seconds, and the tokens."""
        sampling = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True)
        begin = time.perf_counter()
        done = self._client.generate(prompts, sampling)
        seconds = time.perf_counter() - begin
        return seconds, [list(completion.token_ids) for completion in done]

    def __enter__(self) -> SagellmSide:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._engine.close()
