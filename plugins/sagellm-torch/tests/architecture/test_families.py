"""Configs of published shapes, and configs that must be refused."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagellm_torch.architecture import (
    RopeKind,
    check_supported,
    read_decoder_config,
)

from sagellm_core.contract import ModelFormatError, SageLLMError, UnsupportedModelError

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
}
LLAMA3 = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 1024,
    "rope_type": "llama3",
}


def _read(**changes: Any):
    config = {**LLAMA, **changes}
    if "model_type" in changes and "architectures" not in changes:
        config.pop("architectures")
    return read_decoder_config(config)


def test_llama() -> None:
    config = _read()
    assert (config.num_heads, config.num_kv_heads, config.head_dim) == (8, 2, 8)
    assert config.num_layers == 4
    assert config.attention_scale == pytest.approx(1 / math.sqrt(8))
    assert config.ropes[0].kind is RopeKind.DEFAULT
    assert config.ropes[0].theta == 500000.0
    assert not config.tie_word_embeddings
    assert config.kv_elements_per_token == 2 * 4 * 2 * 8
    per_layer = 64 * (64 + 16 + 16 + 64) + 3 * 64 * 128
    assert config.parameter_count == 4 * per_layer + 2 * 1000 * 64


def test_both_spellings_of_rotary_parameters_mean_the_same() -> None:
    old = _read(rope_scaling=LLAMA3)
    new = _read(rope_theta=None, rope_parameters={**LLAMA3, "rope_theta": 500000.0})
    assert old == new
    older = _read(rope_scaling={"type": "linear", "factor": 2.0})
    assert older.ropes[0].kind is RopeKind.LINEAR
    assert older.ropes[0].factor == 2.0


def test_heads_default_to_multi_head_attention() -> None:
    assert _read(num_key_value_heads=None).num_kv_heads == 8


def test_qwen2_slides_only_where_it_is_switched_on() -> None:
    off = _read(
        model_type="qwen2", sliding_window=32, use_sliding_window=False, max_window_layers=2
    )
    assert [layer.sliding_window for layer in off.layers] == [None] * 4
    on = _read(model_type="qwen2", sliding_window=32, use_sliding_window=True, max_window_layers=2)
    assert [layer.sliding_window for layer in on.layers] == [None, None, 32, 32]
    assert on.qkv_bias
    assert not on.output_bias


def test_qwen3_has_head_norms_and_its_own_head_size() -> None:
    config = _read(model_type="qwen3")
    assert config.qk_norm
    assert config.head_dim == 128


def test_mistral_slides_everywhere_or_nowhere() -> None:
    sliding = _read(model_type="mistral", sliding_window=64)
    assert {layer.sliding_window for layer in sliding.layers} == {64}
    plain = _read(model_type="mistral", sliding_window=None)
    assert {layer.sliding_window for layer in plain.layers} == {None}


def test_gemma_means_the_tanh_approximation() -> None:
    config = _read(model_type="gemma", hidden_act="gelu", head_dim=16)
    assert config.activation == "gelu_pytorch_tanh"
    assert config.norm_offset == 1.0
    assert config.embedding_scale == 8.0
    assert config.tie_word_embeddings


def test_gemma2_alternates_and_caps() -> None:
    config = _read(model_type="gemma2", query_pre_attn_scalar=144, sliding_window=16)
    assert [layer.sliding_window for layer in config.layers] == [16, None, 16, None]
    assert (config.attention_softcap, config.logit_softcap) == (50.0, 30.0)
    assert config.attention_scale == pytest.approx(1 / 12)
    assert config.sandwich_norms
    capless = _read(model_type="gemma2", attn_logit_softcapping=None, sliding_window=16)
    assert (capless.attention_softcap, capless.logit_softcap) == (None, 30.0)


def test_gemma3_has_a_rotation_for_each_kind_of_layer() -> None:
    old = {
        "model_type": "gemma3_text",
        "num_hidden_layers": 7,
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "sliding_window": 512,
    }
    config = _read(**old)
    assert [layer.rope for layer in config.layers] == [1, 1, 1, 1, 1, 0, 1]
    full, sliding = config.ropes
    assert (full.kind, full.theta, full.factor) == (RopeKind.LINEAR, 1e6, 8.0)
    assert (sliding.kind, sliding.theta) == (RopeKind.DEFAULT, 1e4)
    nested = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    new = {**old, "rope_scaling": None, "rope_theta": None, "rope_local_base_freq": None}
    assert _read(**new, rope_parameters=nested) == config


def test_gemma3_inside_a_config_for_images() -> None:
    text = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 6}
    config = read_decoder_config(
        {
            "architectures": ["Gemma3ForConditionalGeneration"],
            "model_type": "gemma3",
            "text_config": {**text, "sliding_window": 1024},
            "vision_config": {"hidden_size": 8},
        }
    )
    # What the published config leaves out.
    assert (config.num_heads, config.num_kv_heads, config.head_dim) == (8, 4, 256)
    assert config.vocab_size == 262_208


@pytest.mark.parametrize("name", ["su", "yarn", "longrope"])
def test_phi3_names_longrope_in_three_ways(name) -> None:
    config = _read(
        model_type="phi3",
        original_max_position_embeddings=1024,
        rope_scaling={"type": name, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4},
    )
    rope = config.ropes[0]
    assert rope.kind is RopeKind.LONGROPE
    assert rope.original_length == 1024
    # 4096 / 1024 positions: sqrt(1 + ln 4 / ln 1024).
    assert rope.attention_factor == pytest.approx(math.sqrt(1.2))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "mamba2", "architectures": ["Mamba2ForCausalLM"]}, "Mamba2ForCausalLM"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "SequenceClassification"),
        ({"model_type": ""}, "model_type"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "dynamic"),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [1, 2]}}, "mrope"),
        ({"rope_scaling": {"rope_type": "default", "mrope_section": [1, 2]}}, "mrope_section"),
        ({"hidden_act": "xielu"}, "xielu"),
        ({"layer_types": ["full_attention"] * 3 + ["linear_attention"]}, "linear_attention"),
        ({"layer_types": ["chunked_attention"] * 4}, "chunked_attention"),
        ({"num_local_experts": 8}, "num_local_experts"),
        ({"attention_sinks": True}, "attention_sinks"),
        ({"residual_multiplier": 0.5}, "residual_multiplier"),
        ({"no_rope_layers": [1, 0]}, "no_rope_layers"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, "bidirectional"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(changes, named) -> None:
    with pytest.raises(UnsupportedModelError, match=named) as caught:
        _read(**changes)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hidden_size": None}, "hidden_size"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"num_hidden_layers": -1}, "num_hidden_layers"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"num_hidden_layers": 2**39}, "num_hidden_layers"),
        ({"model_type": "gemma2", "num_hidden_layers": 2**39}, "num_hidden_layers"),
        ({"model_type": "qwen2", "num_hidden_layers": 2**39}, "num_hidden_layers"),
        ({"hidden_size": 2**50}, "hidden_size"),
        ({"num_key_value_heads": 3}, "8 attention heads"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps"),
        ({"rope_theta": 0.5}, "rope_theta"),
        ({"head_dim": 9, "partial_rotary_factor": 0.5}, "head_dim"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor"),
        ({"rope_scaling": {"rope_type": "linear", "factor": -1}}, "factor"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 1e-320}}, "factor"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 0.5}}, "factor"),
        ({"rope_scaling": {**LLAMA3, "high_freq_factor": 0.5}}, "high_freq_factor"),
        ({"rope_scaling": "linear"}, "rotary"),
        ({"partial_rotary_factor": 0.1}, "partial_rotary_factor"),
        ({"layer_types": ["sliding_attention"] * 4}, "sliding_window"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        (
            {"model_type": "qwen2", "layer_types": ["sliding_attention"] * 4, "sliding_window": 8},
            "use_sliding_window",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_field(changes, named) -> None:
    with pytest.raises(ModelFormatError, match=named) as caught:
        _read(**changes)
    assert caught.value.hint


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.one_of(st.integers(0, 9), st.text(max_size=3)), max_size=4),
    st.dictionaries(st.sampled_from(["rope_type", "type", "factor", "rope_theta"]), st.none()),
)


@given(
    st.sampled_from(["llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "mistral", "no"]),
    st.dictionaries(
        st.sampled_from([*LLAMA, "rope_scaling", "rope_parameters", "layer_types", "head_dim"]),
        _VALUES,
        max_size=4,
    ),
)
def test_any_config_is_read_or_refused(model_type, changes) -> None:
    # Anything but a typed error propagates and fails.
    with contextlib.suppress(SageLLMError):
        config = read_decoder_config({**LLAMA, "model_type": model_type, **changes})
        assert config.parameter_count > 0


def test_a_gguf_names_its_architecture_only() -> None:
    check_supported("qwen2")
    with pytest.raises(UnsupportedModelError, match="starcoder2"):
        check_supported("starcoder2")
