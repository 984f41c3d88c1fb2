"""Models that run through transformers, with this device's linear layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sagellm_cpu import plugin

from sagellm_core.contract import (
    Capability,
    DecodeRow,
    LoadedModel,
    LoadOptions,
    LoadVerdict,
    PrefillRow,
    RunnerConfig,
    SamplingParams,
    SlotStart,
)
from sagellm_core.models import describe

_PROMPT = [5, 9, 30, 7, 11]
_CASES: dict[str, dict[str, Any]] = {
    "gpt2": {"tie_word_embeddings": True},
    "olmo2": {},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48},
}


@pytest.fixture(scope="module", params=_CASES)
def tiny(request, tmp_path_factory) -> tuple[Any, Any]:
    """A directory, and the model in it as transformers computes it."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(2)
    config = AutoConfig.for_model(
        request.param,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=99,
        max_position_embeddings=64,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **_CASES[request.param],
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    path = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(path)
    return path, model


def test_probing_says_yes(tiny, device) -> None:
    path, model = tiny
    answer = plugin.sagellm_can_load(describe(path), device)
    assert answer.verdict is LoadVerdict.YES
    assert answer.capabilities == {Capability.GENERATE, Capability.LOGPROBS}
    held = sum(p.numel() for p in model.parameters()) * 4
    assert answer.bytes_needed == pytest.approx(held, rel=0.2)


def test_tokens_equal_a_plain_forward(tiny, device) -> None:
    path, model = tiny
    loaded = plugin.sagellm_load_model(describe(path), device, LoadOptions())
    output = _generate(loaded, 8)
    with torch.inference_mode():
        logits = model(torch.tensor([_PROMPT + output])).logits[0]
    assert logits[len(_PROMPT) - 1 : -1].argmax(-1).tolist() == output


def _generate(loaded: LoadedModel, count: int) -> list[int]:
    runner = plugin.sagellm_open_runner(loaded, RunnerConfig(max_slots=2, max_model_len=48))
    begin = SlotStart(sampling=SamplingParams(temperature=0, seed=0), prompt_len=len(_PROMPT))
    row = PrefillRow(slot=1, token_ids=_PROMPT, start=0, new_blocks=(1, 0), begin=begin)
    output = list(runner.prefill([row]).result().token_ids)
    for _ in range(count - 1):
        output.extend(runner.decode([DecodeRow(1)]).result().token_ids)
    runner.close()
    return output
