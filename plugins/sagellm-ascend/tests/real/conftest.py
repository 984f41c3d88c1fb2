"""The real torch_npu over stub libraries: ``nox -s ascend_contract`` makes both and runs these."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

#: Set by the session, so that nothing is skipped there.
WANTED = "SAGELLM_TEST_TORCH_NPU"


@pytest.fixture(scope="session")
def torch_npu() -> Any:
    """The module, which makes ``torch.npu`` and ``torch.ops.npu``."""
    if os.environ.get(WANTED):
        import torch_npu

        return torch_npu
    return pytest.importorskip(
        "torch_npu", reason="torch_npu is not installed here: nox -s ascend_contract"
    )


@pytest.fixture(scope="session")
def table(torch_npu) -> Any:
    """torch_npu's operators."""
    import torch

    return torch.ops.npu


@pytest.fixture(scope="session")
def calls(torch_npu, tiny, driver_type, prompts) -> list[Any]:
    """What the adapter calls: prefills in chunks, decoding, embedding, in both half types.

    The CPU stands for the NPU: the simulated device would need the place in torch that torch_npu
    has taken.
    """
    return list(_record(tiny, driver_type, prompts))


def _record(tiny: Callable[..., Any], driver_type: Any, prompts: Any) -> list[Any]:
    from sagellm_ascend import plugin
    from sagellm_ascend.adapter import NPUAdapter
    from sagellm_ascend.testing import RecordingOperators, StandInOperators, StandInRuntime
    from sagellm_torch import load_model, open_embedder

    from sagellm_core.contract import EmbedderConfig, LoadOptions, RunnerConfig

    recorded: dict[str, Any] = {}
    models = [
        ("llama", {}),
        ("qwen2", {"head_dim": 256}),
        ("qwen3", {}),
        ("qwen3", {"head_dim": 128, "num_key_value_heads": 1}),
        ("mistral", {}),
        ("mistral", {"head_dim": 64}),
    ]
    for name, changes in models:
        for dtype in ("float16", "bfloat16"):
            operators = RecordingOperators(StandInOperators())
            adapter = NPUAdapter("cpu", StandInRuntime(operators))
            model = load_model(tiny(name, **changes).description, adapter, LoadOptions(dtype=dtype))
            config = RunnerConfig(max_slots=4, max_model_len=256, num_blocks=8)
            runner = plugin.sagellm_open_runner(model, config)
            driver = driver_type(runner)
            driver.generate(prompts([1, 5, 150]), 3)
            driver.generate(prompts([2, 150]), 2, chunk=37)
            driver.generate(prompts([3]), 2, chunk=1)
            runner.close()
            embedder = open_embedder(model, EmbedderConfig())
            embedder.embed(sorted(prompts([4, 1, 20]), key=len, reverse=True), normalize=True)
            embedder.close()
            recorded |= {repr(call): call for call in operators.calls}
    return list(recorded.values())
