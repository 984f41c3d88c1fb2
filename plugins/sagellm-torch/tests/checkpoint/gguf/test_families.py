"""A file of each family, read back and run by transformers, gives the original's logits."""

from __future__ import annotations

import pytest
import torch
from sagellm_torch.checkpoint import Checkpoint, open_checkpoint

from sagellm_core.contract import ModelFormatError, UnsupportedModelError

MODEL_TYPES = [
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3",
]  # fmt: skip


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_same_model(
    model_type, families, make_model, write_gguf, describe_gguf, rebuilt, logits, tmp_path
):
    model = make_model(model_type)
    path = write_gguf(tmp_path / "model.gguf", model, families[model_type][1])

    checkpoint = open_checkpoint(describe_gguf(path))

    assert isinstance(checkpoint, Checkpoint)
    assert checkpoint.config["model_type"] == model_type
    assert checkpoint.generation_config == {"eos_token_id": [2], "bos_token_id": 1}
    expected = {name for name in model.state_dict() if name != "lm_head.weight"}
    if not model.config.tie_word_embeddings:
        expected.add("lm_head.weight")
    assert set(checkpoint.names()) == expected
    for name in checkpoint.names():
        theirs = model.state_dict()[name]
        shifted = "gemma" in model_type and name.endswith("norm.weight")
        torch.testing.assert_close(
            checkpoint.tensor(name, torch.float32), theirs, rtol=0, atol=1e-6 if shifted else 0
        )
    torch.testing.assert_close(logits(rebuilt(checkpoint), 30), logits(model, 30))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_tensor_comes_in_the_type_asked_for(
    dtype, make_model, write_gguf, describe_gguf, tmp_path
):
    model = make_model("gemma")
    path = write_gguf(tmp_path / "model.gguf", model, "gemma")
    checkpoint = open_checkpoint(describe_gguf(path))
    for name in ("model.norm.weight", "model.layers.1.self_attn.q_proj.weight"):
        tensor = checkpoint.tensor(name, dtype)
        assert tensor.dtype == dtype
        torch.testing.assert_close(tensor, model.state_dict()[name].to(dtype))


def test_biases_of_llama_are_reordered_too(
    make_model, write_gguf, describe_gguf, rebuilt, logits, tmp_path
):
    model = make_model("llama", attention_bias=True, mlp_bias=True)
    path = write_gguf(tmp_path / "model.gguf", model, "llama")
    checkpoint = open_checkpoint(describe_gguf(path))
    assert checkpoint.config["attention_bias"] is True
    torch.testing.assert_close(logits(rebuilt(checkpoint), 20), logits(model, 20))


def test_an_unknown_tensor_is_refused(make_model, write_gguf, describe_gguf, tmp_path):
    sinks = torch.ones(4).numpy()
    path = write_gguf(
        tmp_path / "m.gguf", make_model("llama"), "llama", tensors={"blk.0.attn_sinks": sinks}
    )
    with pytest.raises(UnsupportedModelError, match=r"blk\.0\.attn_sinks"):
        open_checkpoint(describe_gguf(path))


def test_a_missing_tensor_is_named(make_model, write_gguf, describe_gguf, tmp_path):
    path = write_gguf(tmp_path / "m.gguf", make_model("gemma"), "gemma")
    checkpoint = open_checkpoint(describe_gguf(path))
    with pytest.raises(ModelFormatError, match=r"lm_head\.weight"):
        checkpoint.tensor("lm_head.weight", torch.float32)


def test_closed_twice_and_then_refuses(make_model, write_gguf, describe_gguf, tmp_path):
    path = write_gguf(tmp_path / "m.gguf", make_model("gemma"), "gemma")
    checkpoint = open_checkpoint(describe_gguf(path))
    kept = checkpoint.tensor("model.norm.weight", torch.float32)
    checkpoint.close()
    checkpoint.close()
    assert kept.isfinite().all()
    with pytest.raises(ModelFormatError, match="closed"):
        checkpoint.tensor("model.norm.weight", torch.float32)


def test_a_file_cut_short_after_opening(make_model, write_gguf, describe_gguf, tmp_path):
    path = write_gguf(tmp_path / "m.gguf", make_model("gemma"), "gemma")
    checkpoint = open_checkpoint(describe_gguf(path))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(ModelFormatError, match="ends at byte"):
        [checkpoint.tensor(name, torch.float32) for name in checkpoint.names()]
