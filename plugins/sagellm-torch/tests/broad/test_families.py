"""What is refused, before any weight is read and without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sagellm_torch.architecture import SUPPORTED_ENCODER_TYPES, SUPPORTED_MODEL_TYPES
from sagellm_torch.broad import PROVEN_MODEL_TYPES, check_broad, is_broad
from sagellm_torch.purpose import capabilities_of

from sagellm_core.contract import Capability, ModelDescription, ModelFormat, UnsupportedModelError

_OFFERED = frozenset({Capability.GENERATE, Capability.LOGPROBS, Capability.EMBED})


def test_no_type_takes_two_paths() -> None:
    native = {*SUPPORTED_MODEL_TYPES, *SUPPORTED_ENCODER_TYPES}
    assert not native & set(PROVEN_MODEL_TYPES)


@pytest.mark.parametrize("model_type", ["falcon", "bloom", "qwen3_next", "mamba", "t5", ""])
def test_types_without_a_proof_are_not_broad(model_type) -> None:
    assert not is_broad(model_type)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "olmo2", "quantization_config": {"quant_method": "awq"}}, "awq"),
        ({"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"]}, "Sequence"),
        ({"model_type": "gpt2", "add_cross_attention": True}, "add_cross_attention"),
        (
            {"model_type": "minimax_m2", "layer_types": ["linear_attention", "full_attention"]},
            "linear_attention",
        ),
        ({"model_type": "olmo2", "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "dynamic"),
        (
            {
                "model_type": "olmo3",
                "rope_parameters": {"full_attention": {"rope_type": "longrope"}},
            },
            "longrope",
        ),
        (
            {"model_type": "qwen2_moe", "use_sliding_window": True, "sliding_window": 64},
            "sliding_window=64",
        ),
        (
            {"model_type": "phimoe", "sliding_window": 64, "max_position_embeddings": 4096},
            "sliding_window=64",
        ),
    ],
)
def test_what_the_proofs_do_not_cover_is_refused_by_name(config, named) -> None:
    with pytest.raises(UnsupportedModelError, match=named) as caught:
        check_broad(config)
    assert caught.value.hint


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "qwen2_moe", "use_sliding_window": False, "sliding_window": 64},
        {"model_type": "phimoe", "sliding_window": 4096, "max_position_embeddings": 4096},
        {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "add_cross_attention": False},
        {"model_type": "olmo2", "rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
    ],
)
def test_windows_and_rotations_that_change_nothing_are_taken(config) -> None:
    check_broad(config)


def test_such_a_model_generates_and_does_not_embed() -> None:
    model = ModelDescription(
        reference="m",
        format=ModelFormat.SAFETENSORS,
        model_type="olmo2",
        config={"model_type": "olmo2"},
    )
    assert capabilities_of(model, _OFFERED) == _OFFERED - {Capability.EMBED}


def test_a_gguf_of_such_a_type_is_refused() -> None:
    model = ModelDescription(
        reference="m.gguf", format=ModelFormat.GGUF, model_type="olmo2", path=Path("m.gguf")
    )
    with pytest.raises(UnsupportedModelError, match="olmo2"):
        capabilities_of(model, _OFFERED)


def test_probing_imports_neither_torch_nor_transformers() -> None:
    code = """
import json, sys
from sagellm_torch.broad import check_broad
check_broad({"model_type": "gpt_oss"})
print(json.dumps([n for n in ("torch", "transformers", "numpy") if n in sys.modules]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == []
