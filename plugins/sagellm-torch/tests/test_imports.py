"""What importing the kit costs others."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FORBIDDEN = ("transformers", "torchvision", "sympy", "torch._dynamo", "torch._inductor")


def _loaded(code: str, names: tuple[str, ...]) -> str:
    script = f"{code}\nimport sys; print(*[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "sagellm_torch",
        "sagellm_torch.architecture",
        "sagellm_torch.purpose",
        "sagellm_torch.embedding.recipe",
    ],
)
def test_no_torch_before_a_model_is_loaded(module) -> None:
    assert _loaded(f"import {module}", ("torch", "numpy", *_FORBIDDEN)) == ""


def test_generating_imports_no_transformers(tiny_model) -> None:
    path = tiny_model("llama").path
    code = f"""
from sagellm_core.contract import (
    DecodeRow, LoadOptions, PrefillRow, RunnerConfig, SamplingParams, SlotStart)
from sagellm_core.models import describe
from sagellm_torch import DeviceAdapter, load_model, open_runner
model = load_model(describe({str(path)!r}), DeviceAdapter("cpu"), LoadOptions())
runner = open_runner(model, RunnerConfig(max_slots=1, max_model_len=64))
begin = SlotStart(sampling=SamplingParams(seed=1, top_p=0.9, logprobs=2), prompt_len=3)
runner.prefill([PrefillRow(slot=0, token_ids=[3, 4, 5], start=0, new_blocks=(0,), begin=begin)])
assert runner.decode([DecodeRow(0)]).result().token_ids
"""
    assert _loaded(code, _FORBIDDEN) == ""


def test_embedding_imports_no_transformers(tiny_model) -> None:
    path = tiny_model("llama").path
    code = f"""
from sagellm_core.contract import EmbedderConfig, LoadOptions
from sagellm_core.models import describe
from sagellm_torch import DeviceAdapter, load_model, open_embedder
model = load_model(describe({str(path)!r}), DeviceAdapter("cpu"), LoadOptions())
assert open_embedder(model, EmbedderConfig()).embed([[3, 4, 5]], normalize=True).shape == (1, 64)
"""
    assert _loaded(code, _FORBIDDEN) == ""


def test_every_public_name_loads() -> None:
    import sagellm_torch

    for name in sagellm_torch.__all__:
        assert getattr(sagellm_torch, name) is not None
        assert name in dir(sagellm_torch)
    with pytest.raises(AttributeError):
        _ = sagellm_torch.nothing
