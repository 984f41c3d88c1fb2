"""Every family, and every variant of its mathematics, against transformers in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sagellm_torch import SUPPORTED_MODEL_TYPES

#: Rotary variants whose switch or ramp lies within the tests' sequences.
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}
_LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + 0.05 * i for i in range(8)],
    "long_factor": [1.5 + 0.9 * i for i in range(8)],
}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-tied": ("llama", {"tie_word_embeddings": True}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-multi-head": ("llama", {"num_key_value_heads": 4}),
    "llama-wide-heads": ("llama", {"head_dim": 24}),
    "llama-gelu": ("llama", {"hidden_act": "gelu"}),
    "llama-linear": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}},
    ),
    "llama-llama3": ("llama", {"rope_parameters": _LLAMA3}),
    "llama-yarn": ("llama", {"rope_parameters": _YARN}),
    "llama-yarn-mscale": (
        "llama",
        {
            "rope_parameters": {
                **_YARN,
                "mscale": 1.0,
                "mscale_all_dim": 0.5,
                "truncate": False,
                "beta_fast": 16,
            }
        },
    ),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral-sliding": ("mistral", {"sliding_window": 9, "head_dim": 32}),
    "qwen2": ("qwen2", {}),
    "qwen2-sliding": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", {"head_dim": 24}),
    "qwen3-biases-tied": (
        "qwen3",
        {"head_dim": 16, "attention_bias": True, "tie_word_embeddings": True},
    ),
    "gemma": ("gemma", {"head_dim": 24, "tie_word_embeddings": True}),
    "gemma2": (
        "gemma2",
        {
            "head_dim": 16,
            "sliding_window": 9,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 8.0,
            "tie_word_embeddings": True,
        },
    ),
    "gemma3_text": (
        "gemma3_text",
        {
            "head_dim": 16,
            "sliding_window": 9,
            "query_pre_attn_scalar": 24,
            "num_hidden_layers": 7,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
    ),
    "phi3": ("phi3", {"sliding_window": None}),
    "phi3-sliding-partial": (
        "phi3",
        {
            "sliding_window": 11,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "partial_rotary_factor": 0.5,
            },
        },
    ),
    "phi3-longrope": (
        "phi3",
        {"rope_parameters": _LONGROPE, "original_max_position_embeddings": 64},
    ),
}
_LENGTHS = [1, 3, 17, 30, 33, 50, 63, 90]
_NEW = 12


def test_every_supported_family_has_a_case() -> None:
    covered = {model_type for model_type, _ in CASES.values()}
    # "gemma3" is gemma3_text inside a config for images; it has a test of its own.
    assert covered | {"gemma3"} == set(SUPPORTED_MODEL_TYPES)


@pytest.mark.parametrize("case", CASES)
def test_greedy_tokens_equal_transformers(case, tiny_model, load, drive, prompts) -> None:
    model_type, changes = CASES[case]
    tiny = tiny_model(model_type, **changes)
    model = load(tiny.path)
    batch = prompts(_LENGTHS)
    expected = [tiny.greedy(prompt, _NEW) for prompt in batch]
    # Whole, alone; then chunked in mixed batches, with other block sizes.
    alone = drive(model, block_size=16)
    assert [alone.generate([prompt], _NEW)[0] for prompt in batch] == expected
    assert drive(model, block_size=4).generate(batch, _NEW) == expected
    assert drive(model, block_size=1).generate(batch, _NEW, chunk=13) == expected
    assert drive(model, block_size=16, scattered=False).generate(batch, _NEW, chunk=7) == expected


@pytest.mark.parametrize("case", CASES)
def test_logits_of_chunked_prefill_equal_a_plain_forward(
    case, tiny_model, load, drive, prompts
) -> None:
    model_type, changes = CASES[case]
    tiny = tiny_model(model_type, **changes)
    model = load(tiny.path)
    (prompt,) = prompts([60])
    expected = tiny.logits(prompt)
    seen = _record_logits(model)
    driver = drive(model, block_size=4)
    sequence = driver.start(prompt)
    others = [driver.start(p) for p in prompts([20, 33], seed=8)]
    while sequence.done < len(prompt):
        driver.prefill([*(o for o in others if o.done < o.prompt_len), sequence], 11)
    torch.testing.assert_close(seen[-1][-1], expected[-1], atol=1e-4, rtol=1e-4)


def _record_logits(model) -> list[torch.Tensor]:
    """Wraps this one decoder's public method; what the runner computes stays the same."""
    seen: list[torch.Tensor] = []
    plain = model.decoder.prefill

    class Recording:
        def prefill(self, step, cache):
            logits = plain(step, cache)
            if logits is not None:
                seen.append(logits)
            return logits

        decode = staticmethod(model.decoder.decode)

    model._decoder = Recording()
    return seen


def test_longrope_past_its_switch(tiny_model, load, drive, prompts) -> None:
    model_type, changes = CASES["phi3-longrope"]
    tiny = tiny_model(model_type, **changes)
    # Begins with the short factors and grows past the switch; begins with the long ones.
    batch = prompts([60, 64, 65, 120])
    expected = [tiny.greedy(prompt, 16) for prompt in batch]
    assert drive(load(tiny.path)).generate(batch, 16, chunk=20) == expected


def test_sharded_checkpoint(tiny_model, load, drive, prompts) -> None:
    tiny = tiny_model("llama", shard="100KB")
    assert len(list(tiny.path.glob("*.safetensors"))) > 1
    batch = prompts([5, 20])
    expected = [tiny.greedy(prompt, _NEW) for prompt in batch]
    assert drive(load(tiny.path)).generate(batch, _NEW) == expected


def test_gemma3_with_a_vision_tower(
    tmp_path, tiny_sizes, as_tiny_model, load, drive, prompts
) -> None:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = {**tiny_sizes, **CASES["gemma3_text"][1]}
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_index=198,
        boi_token_index=196,
        eoi_token_index=197,
    )
    torch.manual_seed(5)
    model = Gemma3ForConditionalGeneration(config).eval()
    model.generation_config.eos_token_id = None
    model.save_pretrained(tmp_path)
    tiny = as_tiny_model(tmp_path, model)
    batch = prompts([5, 40], vocab=190)
    expected = [tiny.greedy(prompt, _NEW) for prompt in batch]
    assert drive(load(tmp_path)).generate(batch, _NEW, chunk=9) == expected
