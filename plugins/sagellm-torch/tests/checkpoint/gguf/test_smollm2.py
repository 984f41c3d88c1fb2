"""The real model: SmolLM2-135M-Instruct in Q4_1."""

from __future__ import annotations

import gguf
import numpy
import pytest
import torch
from sagellm_torch.checkpoint import open_checkpoint


@pytest.fixture(scope="module")
def checkpoint(smollm2, describe_gguf):
    opened = open_checkpoint(describe_gguf(smollm2))
    yield opened
    opened.close()


def test_config(checkpoint):
    expected = {
        "model_type": "llama",
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "intermediate_size": 1536,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "rope_scaling": None,
        "max_position_embeddings": 8192,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
    }
    assert {name: checkpoint.config[name] for name in expected} == expected
    assert checkpoint.generation_config == {"eos_token_id": [2], "bos_token_id": 1}
    assert len(checkpoint.names()) == 272
    assert "lm_head.weight" not in checkpoint.names()


def test_tensors_are_those_that_transformers_loads(checkpoint, smollm2):
    from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

    processor = LlamaTensorProcessor(dict(checkpoint.config))
    stored = {each.name: each for each in gguf.GGUFReader(smollm2).tensors}
    for ours, theirs in (
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.norm.weight", "output_norm.weight"),
        ("model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight"),
        ("model.layers.29.self_attn.k_proj.weight", "blk.29.attn_k.weight"),
        ("model.layers.7.self_attn.v_proj.weight", "blk.7.attn_v.weight"),
        ("model.layers.7.mlp.down_proj.weight", "blk.7.ffn_down.weight"),
    ):
        entry = stored[theirs]
        weights = gguf.dequantize(entry.data, entry.tensor_type)
        expected = processor.process(weights=weights, name=theirs).weights
        tensor = checkpoint.tensor(ours, torch.float32)
        assert torch.equal(tensor, torch.from_numpy(numpy.array(expected))), ours


def test_all_of_it_is_there(checkpoint):
    total = sum(checkpoint.tensor(name, torch.bfloat16).numel() for name in checkpoint.names())
    assert total == 134_515_008
