"""Configurations of tiny models, one or more for each proven model type."""

from __future__ import annotations

from typing import Any

import pytest

_HEADS = {"head_dim": 16}
_MIXED = {
    "sliding_window": 9,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
_EXPERTS = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 48,
}
_LATENT = {
    "head_dim": 8,
    "num_key_value_heads": 4,
    "q_lora_rank": 32,
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
}
_ROUTED = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "n_group": 2,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "first_k_dense_replace": 1,
}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "afmoe": ("afmoe", {**_HEADS, **_EXPERTS, **_MIXED}),
    "apertus": ("apertus", _HEADS),
    "arcee": ("arcee", _HEADS),
    "biogpt": ("biogpt", {}),
    "cohere": ("cohere", _HEADS),
    "cohere-qk-norm": ("cohere", {**_HEADS, "use_qk_norm": True, "logit_scale": 0.25}),
    "cohere2": ("cohere2", {**_HEADS, **_MIXED}),
    "cohere2_moe": ("cohere2_moe", {**_HEADS, **_EXPERTS, **_MIXED}),
    "cwm": ("cwm", {**_HEADS, **_MIXED}),
    "deepseek_v2": ("deepseek_v2", {**_LATENT, **_ROUTED}),
    "deepseek_v3": ("deepseek_v3", {**_LATENT, **_ROUTED}),
    "deepseek_v3-no-query-rank": ("deepseek_v3", {**_LATENT, **_ROUTED, "q_lora_rank": None}),
    "dots1": ("dots1", {**_HEADS, **_ROUTED}),
    "ernie4_5": ("ernie4_5", _HEADS),
    "ernie4_5_moe": ("ernie4_5_moe", {**_HEADS, **_EXPERTS, "moe_num_experts": 4}),
    "exaone4": ("exaone4", {**_HEADS, **_MIXED}),
    "exaone_moe": ("exaone_moe", {**_HEADS, **_EXPERTS, **_MIXED}),
    "flex_olmo": ("flex_olmo", {**_HEADS, **_EXPERTS}),
    "glm": ("glm", _HEADS),
    "glm4": ("glm4", _HEADS),
    "glm4_moe": ("glm4_moe", {**_HEADS, **_ROUTED}),
    "glm4_moe_lite": ("glm4_moe_lite", {**_LATENT, **_ROUTED}),
    "gpt2": ("gpt2", {}),
    "gpt_bigcode": ("gpt_bigcode", {}),
    "gpt_bigcode-multi-head": ("gpt_bigcode", {"multi_query": False}),
    "gpt_neox": ("gpt_neox", {}),
    "gpt_neox-sequential": ("gpt_neox", {"use_parallel_residual": False}),
    "gpt_oss": ("gpt_oss", {**_HEADS, **_EXPERTS, **_MIXED}),
    "granite": (
        "granite",
        {
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.1,
            "logits_scaling": 2.0,
        },
    ),
    "granite_swa": ("granite_swa", {**_HEADS, **_MIXED}),
    "granitemoe": ("granitemoe", {**_HEADS, **_EXPERTS}),
    "granitemoe_swa": ("granitemoe_swa", {**_HEADS, **_EXPERTS, **_MIXED}),
    "granitemoeshared": ("granitemoeshared", {**_HEADS, **_EXPERTS}),
    "helium": ("helium", _HEADS),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", _HEADS),
    "hy_v3": ("hy_v3", {**_HEADS, **_EXPERTS}),
    "jais2": ("jais2", _HEADS),
    "jetmoe": ("jetmoe", {**_HEADS, **_EXPERTS}),
    "laguna": ("laguna", {**_HEADS, **_EXPERTS, **_MIXED}),
    "mellum": ("mellum", {**_HEADS, **_EXPERTS, **_MIXED}),
    "minicpm3": ("minicpm3", _LATENT),
    "minimax_m2": ("minimax_m2", {**_HEADS, **_EXPERTS}),
    "ministral": ("ministral", {**_HEADS, **_MIXED}),
    "ministral3": ("ministral3", {**_HEADS, "sliding_window": 9}),
    "mixtral": ("mixtral", {**_HEADS, **_EXPERTS}),
    "mixtral-sliding": ("mixtral", {**_HEADS, **_EXPERTS, "sliding_window": 9}),
    "nanochat": ("nanochat", _HEADS),
    "nemotron": ("nemotron", _HEADS),
    "olmo": ("olmo", {"clip_qkv": 1.5}),
    "olmo2": ("olmo2", _HEADS),
    "olmo3": ("olmo3", {**_HEADS, **_MIXED}),
    "olmoe": ("olmoe", {**_HEADS, **_EXPERTS}),
    "opt": ("opt", {}),
    "persimmon": ("persimmon", {}),
    "phi": ("phi", {}),
    "phi-qk-norm": ("phi", {"qk_layernorm": True}),
    "phimoe": ("phimoe", _EXPERTS),
    "qwen2_moe": ("qwen2_moe", _EXPERTS),
    "qwen3_moe": ("qwen3_moe", {**_HEADS, **_EXPERTS}),
    "qwen3_moe-sliding": (
        "qwen3_moe",
        {**_HEADS, **_EXPERTS, "use_sliding_window": True, "sliding_window": 9},
    ),
    "seed_oss": ("seed_oss", _HEADS),
    "smollm3": ("smollm3", {"no_rope_layers": [1, 0, 1]}),
    "smollm3-sliding": ("smollm3", {**_MIXED, "use_sliding_window": True}),
    "solar_open": ("solar_open", {**_HEADS, **_ROUTED}),
    "stablelm": ("stablelm", {}),
    "stablelm-parallel": (
        "stablelm",
        {"use_parallel_residual": True, "qk_layernorm": True, "use_qkv_bias": True},
    ),
    "starcoder2": ("starcoder2", {"sliding_window": 9}),
    "vaultgemma": ("vaultgemma", {**_HEADS, **_MIXED}),
    "youtu": ("youtu", _LATENT),
}


@pytest.fixture(scope="session")
def broad_cases() -> dict[str, tuple[str, dict[str, Any]]]:
    """Name -> model type, and what its configuration has beside the common sizes."""
    return CASES


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with a ``broad_case`` runs once for each configuration."""
    if "broad_case" in metafunc.fixturenames:
        metafunc.parametrize("broad_case", CASES.values(), ids=CASES.keys())
