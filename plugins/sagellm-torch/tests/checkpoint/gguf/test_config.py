"""What a header says beyond the shapes, and what is refused."""

from __future__ import annotations

import pytest
from sagellm_torch.checkpoint import open_checkpoint

from sagellm_core.contract import ModelFormatError, UnsupportedModelError


@pytest.fixture
def config_of(make_model, write_gguf, describe_gguf, tmp_path):
    def build(model_type, arch, metadata=lambda writer: None, **changes):
        path = write_gguf(
            tmp_path / "m.gguf", make_model(model_type, **changes), arch, metadata=metadata
        )
        return open_checkpoint(describe_gguf(path)).config

    return build


def test_an_architecture_is_refused_by_name(make_model, write_gguf, describe_gguf, tmp_path):
    path = write_gguf(tmp_path / "m.gguf", make_model("qwen2"), "qwen2")
    path.write_bytes(path.read_bytes().replace(b"qwen2", b"rwkv7"))
    with pytest.raises(UnsupportedModelError, match="rwkv7") as caught:
        open_checkpoint(describe_gguf(path))
    assert "gemma3" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.expert_count", 8),
        ("llama.logit_scale", 0.5),
        ("llama.attention.clamp_kqv", 8.0),
        ("llama.attention.causal", False),
        ("llama.attention.value_length", 8),
    ],
)
def test_maths_that_the_family_does_not_have(key, value, config_of):
    def metadata(writer):
        if key.endswith("value_length"):
            writer.kv_data[0].pop(key)
        {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}[type(value)](
            key, value
        )

    with pytest.raises(UnsupportedModelError):
        config_of("llama", "llama", metadata)


def test_values_that_change_nothing_are_fine(config_of):
    config = config_of("llama", "llama", lambda writer: writer.add_uint32("llama.expert_count", 0))
    assert config["attention_bias"] is False
    assert config["rope_scaling"] is None


def test_per_layer_lists(config_of):
    def lists(values):
        def metadata(writer):
            writer.kv_data[0].pop("llama.attention.head_count_kv")
            writer.add_array("llama.attention.head_count_kv", values)

        return metadata

    assert config_of("llama", "llama", lists([2, 2]))["num_key_value_heads"] == 2
    with pytest.raises(UnsupportedModelError, match="layers differ"):
        config_of("llama", "llama", lists([2, 4]))


def test_a_window_makes_a_mistral(config_of):
    config = config_of("mistral", "llama")
    assert (config["model_type"], config["sliding_window"]) == ("mistral", 8)


def test_phi4_has_no_window(config_of):
    def metadata(writer):
        writer.kv_data[0].pop("phi3.attention.sliding_window", None)
        writer.add_sliding_window(0)

    assert config_of("phi3", "phi3", metadata)["sliding_window"] is None


@pytest.mark.parametrize(
    ("model_type", "arch", "layers"), [("gemma2", "gemma2", 46), ("gemma3_text", "gemma3", 62)]
)
def test_the_27b_scales_queries_by_width(model_type, arch, layers, config_of):
    small = {"hidden_size": 32, "num_attention_heads": 4, "head_dim": 16, "intermediate_size": 8}
    config = config_of(model_type, arch, num_hidden_layers=layers, **small)
    assert config["query_pre_attn_scalar"] == 8
    config = config_of(model_type, arch, num_hidden_layers=2, **small)
    assert config["query_pre_attn_scalar"] == 16


def test_gemma2_caps(config_of):
    config = config_of("gemma2", "gemma2")
    assert (config["attn_logit_softcapping"], config["final_logit_softcapping"]) == (50, 30)
    config = config_of("gemma3_text", "gemma3")
    assert (config["attn_logit_softcapping"], config["final_logit_softcapping"]) == (None, None)


def test_window_pattern_as_a_list(config_of):
    pattern = [True, False, True, True, False, True, True]

    def metadata(writer):
        writer.add_array("gemma3.attention.sliding_window_pattern", pattern)

    config = config_of("gemma3_text", "gemma3", metadata)
    assert [each == "sliding_attention" for each in config["layer_types"]] == pattern


@pytest.mark.parametrize(
    ("key", "value"), [("block_count", 3000), ("block_count", 0), ("embedding_length", 0)]
)
def test_impossible_numbers(key, value, config_of):
    def metadata(writer):
        writer.kv_data[0].pop(f"llama.{key}")
        writer.add_uint32(f"llama.{key}", value)

    with pytest.raises(ModelFormatError):
        config_of("llama", "llama", metadata)
