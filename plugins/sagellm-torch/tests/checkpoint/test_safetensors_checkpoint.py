"""Hugging Face directories: whole, sharded, damaged, unsafe."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sagellm_torch.checkpoint import Checkpoint, open_checkpoint

from sagellm_core.contract import (
    ModelDescription,
    ModelFormat,
    ModelFormatError,
    ModelNotFoundError,
    SageLLMError,
    UnsafeModelError,
    UnsupportedModelError,
)

INDEX = "model.safetensors.index.json"
TENSORS = {
    "model.embed_tokens.weight": torch.arange(12, dtype=torch.float32).view(4, 3),
    "model.norm.weight": torch.ones(3, dtype=torch.bfloat16),
}


@pytest.fixture
def model(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama", "eos_token_id": 7}')
    save_file(TENSORS, tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def sharded(model):
    (model / "model.safetensors").unlink()
    index = {}
    for number, (name, tensor) in enumerate(TENSORS.items()):
        file = f"model-{number}.safetensors"
        save_file({name: tensor}, model / file)
        index[name] = file
    (model / INDEX).write_text(json.dumps({"weight_map": index}))
    return model


def test_one_file(model, describe_directory):
    checkpoint = open_checkpoint(describe_directory(model))
    assert isinstance(checkpoint, Checkpoint)
    assert set(checkpoint.names()) == set(TENSORS)
    assert checkpoint.config["model_type"] == "llama"
    assert checkpoint.generation_config == {"eos_token_id": 7}
    for name, tensor in TENSORS.items():
        for dtype in (torch.float32, torch.bfloat16):
            assert torch.equal(checkpoint.tensor(name, dtype), tensor.to(dtype))


def test_shards(sharded, describe_directory):
    checkpoint = open_checkpoint(describe_directory(sharded))
    assert set(checkpoint.names()) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(checkpoint.tensor(name, torch.float32), tensor.float())


def test_a_file_of_any_name_if_it_is_the_only_one(model, describe_directory):
    (model / "model.safetensors").rename(model / "weights.safetensors")
    assert set(open_checkpoint(describe_directory(model)).names()) == set(TENSORS)
    save_file(TENSORS, model / "more.safetensors")
    with pytest.raises(ModelFormatError, match=r"2 safetensors files.*no model.safetensors.index"):
        open_checkpoint(describe_directory(model))


def test_generation_config_has_its_own_file(model, describe_directory):
    (model / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    checkpoint = open_checkpoint(describe_directory(model))
    assert checkpoint.generation_config == {"eos_token_id": [1, 2]}


def test_the_bare_model_without_a_head(model, describe_directory):
    bare = {name.removeprefix("model."): tensor for name, tensor in TENSORS.items()}
    save_file(bare, model / "model.safetensors")
    assert set(open_checkpoint(describe_directory(model)).names()) == set(TENSORS)


def test_close(model, describe_directory):
    checkpoint = open_checkpoint(describe_directory(model))
    kept = checkpoint.tensor("model.embed_tokens.weight", torch.float32)
    checkpoint.close()
    checkpoint.close()
    assert torch.equal(kept, TENSORS["model.embed_tokens.weight"])
    with pytest.raises(ModelFormatError, match="closed"):
        checkpoint.tensor("model.norm.weight", torch.float32)


def test_a_missing_tensor_is_named(model, describe_directory):
    with pytest.raises(ModelFormatError, match=r"lm_head\.weight"):
        open_checkpoint(describe_directory(model)).tensor("lm_head.weight", torch.float32)


def test_a_missing_shard_is_named(sharded, describe_directory):
    (sharded / "model-1.safetensors").unlink()
    with pytest.raises(ModelFormatError, match=r"1 of 2 weight files: model-1\.safetensors"):
        open_checkpoint(describe_directory(sharded))


def test_a_shard_without_its_tensor(sharded, describe_directory):
    save_file({"other": torch.ones(1)}, sharded / "model-1.safetensors")
    with pytest.raises(ModelFormatError, match=r"lacks 1 of the 1 tensors.*model\.norm\.weight"):
        open_checkpoint(describe_directory(sharded))


@pytest.mark.parametrize("file", ["../elsewhere.safetensors", "/etc/passwd", 3, "", ".."])
def test_an_index_that_leads_elsewhere(file, sharded, describe_directory):
    (sharded / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": file}}))
    with pytest.raises(ModelFormatError):
        open_checkpoint(describe_directory(sharded))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}', "\xff", "[" * 100000])
def test_a_broken_index(text, sharded, describe_directory):
    (sharded / INDEX).write_text(text, encoding="latin-1")
    with pytest.raises(ModelFormatError):
        open_checkpoint(describe_directory(sharded))


@pytest.mark.parametrize("length", [0, 4, 8, 50, 150, -1])
def test_cut_short(length, model, describe_directory):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelFormatError, match="bytes"):
        open_checkpoint(describe_directory(model))


def test_too_long(model, describe_directory):
    with (model / "model.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ModelFormatError, match="its header describes"):
        open_checkpoint(describe_directory(model))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 250), value=st.binary(min_size=1, max_size=8))
def test_damaged_bytes(model, describe_directory, at, value):
    path = model / "damaged.safetensors"
    (model / "model.safetensors").unlink(missing_ok=True)
    save_file(TENSORS, path)
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(bytes(data))
    try:
        checkpoint = open_checkpoint(describe_directory(model))
        for name in checkpoint.names():
            checkpoint.tensor(name, torch.float32)
    except SageLLMError as error:
        assert error.hint  # noqa: PT017 - whether it raises depends on the bytes


def test_a_header_that_is_not_an_object(model, describe_directory):
    (model / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"[]")
    with pytest.raises(ModelFormatError, match="header"):
        open_checkpoint(describe_directory(model))


@pytest.mark.parametrize("file", ["pytorch_model.bin", "consolidated.00.pth", "x.ckpt", "m.pt"])
def test_only_pickles(file, model, describe_directory):
    (model / "model.safetensors").rename(model / file)
    with pytest.raises(UnsafeModelError, match=file) as caught:
        open_checkpoint(describe_directory(model))
    assert "safe_serialization" in caught.value.hint


def test_pickles_beside_safetensors_are_left_alone(model, describe_directory):
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert set(open_checkpoint(describe_directory(model)).names()) == set(TENSORS)


def test_nothing_there(tmp_path, describe_directory):
    with pytest.raises(ModelFormatError, match=r"config\.json"):
        open_checkpoint(describe_directory(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelFormatError, match=r"no \*\.safetensors"):
        open_checkpoint(describe_directory(tmp_path))
    with pytest.raises(ModelNotFoundError):
        open_checkpoint(ModelDescription(reference="x", format=ModelFormat.UNRESOLVED))


def test_quantised_weights_are_refused(model, describe_directory):
    (model / "config.json").write_text('{"quantization_config": {"quant_method": "gptq"}}')
    with pytest.raises(UnsupportedModelError, match="gptq"):
        open_checkpoint(describe_directory(model))


def test_a_type_that_is_no_float_is_refused(model, describe_directory):
    save_file({"model.norm.weight": torch.ones(3, dtype=torch.int8)}, model / "model.safetensors")
    with pytest.raises(UnsupportedModelError, match="I8"):
        open_checkpoint(describe_directory(model)).tensor("model.norm.weight", torch.float32)
