"""The mock provider behind core's own engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sagellm_mock import plugin
from sagellm_mock.model import MockModel

from sagellm_core.contract import (
    EngineConfig,
    LoadOptions,
    ModelDescription,
    ModelFormat,
    SamplingParams,
)
from sagellm_core.engine import Completion, EngineClient, LLMEngine
from sagellm_core.engine.limits import runner_config


def load(reference: str = "any", **options: Any) -> MockModel:
    description = ModelDescription(reference=reference, format=ModelFormat.UNRESOLVED)
    model = plugin.sagellm_load_model(description, LoadOptions(provider_options=options))
    assert isinstance(model, MockModel)
    return model


class Mock:
    """A loaded mock, its engine and a client."""

    def __init__(self, reference: str, config: dict[str, Any], options: dict[str, Any]) -> None:
        self.model = load(reference, **options)
        self.tokenizer = self.model.tokenizer
        limits = EngineConfig(**config)
        self.runner = plugin.sagellm_open_runner(self.model, runner_config(self.model, limits))
        self.engine = LLMEngine(self.model, self.runner, limits)
        self.client = EngineClient(self.engine)

    def ask(self, prompt: str, *, chat: bool = False, **sampling: Any) -> Completion:
        """One answer; greedy unless told otherwise."""
        return self.ask_all([prompt], chat=chat, **sampling)[0]

    def ask_all(self, prompts: list[str], *, chat: bool = False, **sampling: Any) -> Any:
        sampling.setdefault("temperature", 0.0)
        if chat:
            prompts = [
                self.tokenizer.apply_chat_template([{"role": "user", "content": prompt}])
                for prompt in prompts
            ]
        tokens = [self.tokenizer.encode(prompt) for prompt in prompts]
        return self.client.generate(tokens, SamplingParams(**sampling), timeout=60)


@pytest.fixture
def mock() -> Iterator[Callable[..., Mock]]:
    """Makes mocks from provider options and, by ``config``, engine limits; closes them."""
    made: list[Mock] = []

    def make(
        reference: str = "any", *, config: dict[str, Any] | None = None, **options: Any
    ) -> Mock:
        made.append(Mock(reference, config or {}, options))
        return made[-1]

    yield make
    for one in made:
        stats = one.engine.stats()
        assert stats.blocks_free == stats.blocks_total
        one.engine.close()


@pytest.fixture
def load_model() -> Callable[..., MockModel]:
    """Loads a mock model by provider options."""
    return load
