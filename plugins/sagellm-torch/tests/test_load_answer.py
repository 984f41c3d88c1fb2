"""What a plugin over the kit answers about a model, without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sagellm_torch.footprint import bytes_needed, itemsize
from sagellm_torch.load_answer import load_answer

from sagellm_core.contract import LoadVerdict, ModelDescription, ModelFormat

OFFERED = frozenset({"generate", "logprobs", "embed"})
_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 128,
}
LLAMA = ModelDescription(
    reference="somewhere/model",
    format=ModelFormat.SAFETENSORS,
    path=Path("somewhere/model"),
    model_type="llama",
    architecture="LlamaForCausalLM",
    config={"model_type": "llama", **_SIZES},
    weight_dtype="bfloat16",
)
BERT = replace(
    LLAMA, model_type="bert", architecture="BertModel", config={"model_type": "bert", **_SIZES}
)
GPT2 = replace(
    LLAMA,
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    config={"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 100},
    parameter_count=1000,
)
PACKED = replace(LLAMA, format=ModelFormat.GGUF, weight_dtype="Q4_0", parameter_count=1000)
_WEIGHTS = 2 * (4 * 64 * 64 + 3 * 64 * 96) + 2 * 100 * 64
_CACHE = 512 * 2 * 2 * 64


@pytest.mark.parametrize(
    ("model", "capabilities", "needed"),
    [
        (LLAMA, None, 2 * (_WEIGHTS + _CACHE)),
        (replace(LLAMA, weight_dtype="float32"), None, 4 * (_WEIGHTS + _CACHE)),
        (BERT, {"embed"}, 2 * 64 * (2 * (4 * 64 + 2 * 96) + 100 + 128 + 2)),
        (GPT2, {"generate", "logprobs"}, 2000),
        (replace(GPT2, parameter_count=None), {"generate", "logprobs"}, None),
        (PACKED, None, 2000),
    ],
)
def test_models_that_are_covered(model, capabilities, needed) -> None:
    answer = load_answer(model, OFFERED)
    assert (answer.verdict, answer.capabilities) == (LoadVerdict.YES, capabilities)
    assert answer.bytes_needed == needed


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (replace(LLAMA, format=ModelFormat.UNRESOLVED), "was not resolved"),
        (replace(LLAMA, model_type="rwkv", architecture="RwkvForCausalLM"), "RwkvForCausalLM"),
        (replace(LLAMA, config={**LLAMA.config, "hidden_size": None}), "hidden_size"),
    ],
)
def test_models_that_are_not(model, words) -> None:
    answer = load_answer(model, OFFERED)
    assert answer.verdict is LoadVerdict.NO
    assert words in answer.reason
    assert answer.hint


def test_a_device_that_keeps_weights_otherwise_says_what_they_take() -> None:
    assert load_answer(LLAMA, OFFERED, lambda model: 7).bytes_needed == 7


def test_types_that_are_not_computed_in() -> None:
    assert [itemsize(PACKED), itemsize(PACKED, 4), itemsize(LLAMA, 4)] == [2, 4, 2]
    assert bytes_needed(PACKED, 4) == 4000


def test_no_torch_is_imported() -> None:
    script = "import sys, sagellm_torch.load_answer; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"
