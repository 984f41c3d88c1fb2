"""The text model inside a multimodal one."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from sagellm_torch.checkpoint import open_checkpoint

CONFIG = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "eos_token_id": [1, 106],
    "text_config": {"hidden_size": 64, "model_type": "gemma3_text", "num_attention_heads": 2},
    "vision_config": {"hidden_size": 9},
}
CANONICAL = {"model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "model.norm.weight"}


@pytest.mark.parametrize(
    ("prefix", "head", "towers"),
    [
        ("language_model.model.", "language_model.lm_head.weight", ["vision_tower.x"]),
        ("model.language_model.", "lm_head.weight", ["model.vision_tower.x",
                                                     "model.multi_modal_projector.x"]),
    ],
)  # fmt: skip
def test_names_and_config(prefix, head, towers, tmp_path, describe_directory):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    stored = [prefix + name.removeprefix("model.") for name in CANONICAL]
    save_file(
        {name: torch.ones(1) for name in [*stored, head, *towers]}, tmp_path / "model.safetensors"
    )

    checkpoint = open_checkpoint(describe_directory(tmp_path))

    assert set(checkpoint.names()) == {*CANONICAL, "lm_head.weight"}
    config = checkpoint.config
    assert config["model_type"] == "gemma3_text"
    assert config["hidden_size"] == 64
    assert config["num_attention_heads"] == 2
    assert config["eos_token_id"] == [1, 106]
    assert checkpoint.generation_config == {"eos_token_id": [1, 106]}


def test_gemma3_leaves_out_the_defaults_of_its_class(tmp_path, describe_directory):
    from transformers import Gemma3TextConfig

    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    save_file({"language_model.model.norm.weight": torch.ones(1)}, tmp_path / "model.safetensors")
    config = open_checkpoint(describe_directory(tmp_path)).config
    published = Gemma3TextConfig()
    for name in ("head_dim", "num_key_value_heads", "rms_norm_eps", "query_pre_attn_scalar"):
        assert config[name] == getattr(published, name)
    assert config["rope_theta"] == published.rope_parameters["full_attention"]["rope_theta"]
