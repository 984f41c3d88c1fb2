"""Every way of scaling rotary frequencies survives the trip through a GGUF."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from sagellm_torch.checkpoint import open_checkpoint

from sagellm_core.contract import UnsupportedModelError


def test_llama3_frequency_factors(make_model, write_gguf, describe_gguf, rebuilt, logits, tmp_path):
    scaling = {
        "rope_type": "llama3",
        "rope_theta": 1e4,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    model = make_model("llama", rope_theta=None, rope_parameters=scaling)
    plain = 1e4 ** (-torch.arange(0, 16, 2).float() / 16)
    factors = plain / model.model.rotary_emb.inv_freq
    assert factors.max() == 8
    assert factors.min() == 1
    path = write_gguf(
        tmp_path / "m.gguf", model, "llama", tensors={"rope_freqs.weight": factors.numpy()}
    )
    checkpoint = open_checkpoint(describe_gguf(path))
    torch.testing.assert_close(logits(rebuilt(checkpoint), 200), logits(model, 200))


@pytest.mark.parametrize("length", [20, 100])
def test_phi3_long_and_short_factors(
    length, make_model, write_gguf, describe_gguf, rebuilt, logits, tmp_path
):
    short, long = [1.0 + 0.1 * i for i in range(6)], [2.0 + i for i in range(6)]
    model = make_model(
        "phi3",
        sliding_window=None,
        rope_theta=None,
        original_max_position_embeddings=64,
        partial_rotary_factor=0.75,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 1e4,
            "short_factor": short,
            "long_factor": long,
            "partial_rotary_factor": 0.75,
            "original_max_position_embeddings": 64,
        },
    )

    def metadata(writer):
        writer.add_rope_dimension_count(12)
        writer.add_rope_scaling_orig_ctx_len(64)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(256 / 64) / math.log(64)))

    path = write_gguf(
        tmp_path / "m.gguf",
        model,
        "phi3",
        metadata=metadata,
        tensors={
            "rope_factors_long.weight": numpy.array(long, numpy.float32),
            "rope_factors_short.weight": numpy.array(short, numpy.float32),
        },
    )
    checkpoint = open_checkpoint(describe_gguf(path))
    assert checkpoint.config["partial_rotary_factor"] == 0.75
    torch.testing.assert_close(logits(rebuilt(checkpoint), length), logits(model, length))


def test_yarn(make_model, write_gguf, describe_gguf, rebuilt, logits, tmp_path):
    model = make_model(
        "qwen2",
        rope_theta=None,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 1e4,
            "factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    )

    def metadata(writer):
        writer.add_rope_scaling_type(_yarn())
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(64)

    path = write_gguf(tmp_path / "m.gguf", model, "qwen2", metadata=metadata)
    checkpoint = open_checkpoint(describe_gguf(path))
    torch.testing.assert_close(logits(rebuilt(checkpoint), 200), logits(model, 200))


def test_linear_on_the_global_layers_of_gemma3(
    make_model, write_gguf, describe_gguf, rebuilt, logits, tmp_path
):
    model = make_model(
        "gemma3_text",
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    )

    def metadata(writer):
        writer.add_string("gemma3.rope.scaling.type", "linear")
        writer.add_rope_scaling_factor(8.0)

    path = write_gguf(tmp_path / "m.gguf", model, "gemma3", metadata=metadata)
    checkpoint = open_checkpoint(describe_gguf(path))
    assert checkpoint.config["rope_theta"] == 1e6
    assert checkpoint.config["rope_local_base_freq"] == 1e4
    assert checkpoint.config["layer_types"].index("full_attention") == 5
    torch.testing.assert_close(logits(rebuilt(checkpoint), 60), logits(model, 60))


def test_an_unknown_scaling_is_named(make_model, write_gguf, describe_gguf, tmp_path):
    def metadata(writer):
        writer.add_string("llama.rope.scaling.type", "spiral")
        writer.add_rope_scaling_factor(2.0)

    path = write_gguf(tmp_path / "m.gguf", make_model("llama"), "llama", metadata=metadata)
    with pytest.raises(UnsupportedModelError, match="spiral"):
        open_checkpoint(describe_gguf(path))


def test_a_partly_rotated_llama_is_refused(make_model, write_gguf, describe_gguf, tmp_path):
    path = write_gguf(
        tmp_path / "m.gguf",
        make_model("llama"),
        "llama",
        metadata=lambda writer: writer.add_rope_dimension_count(8),
    )
    with pytest.raises(UnsupportedModelError, match="8 of the 16 dimensions"):
        open_checkpoint(describe_gguf(path))


def _yarn():
    from gguf import RopeScalingType

    return RopeScalingType.YARN
