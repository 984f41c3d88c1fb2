"""Decoders as embedders, held to transformers' hidden states of the same random weights."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sagellm_torch import DeviceAdapter, load_model, open_embedder, open_runner

from sagellm_core.contract import (
    ConfigurationError,
    EmbedderConfig,
    LoadOptions,
    RunnerConfig,
    UnsupportedModelError,
)
from sagellm_core.models import describe

FAMILIES = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "gemma2": {"head_dim": 16, "sliding_window": 24},
    "mistral": {"sliding_window": 20},
    "phi3": {},
}
LENGTHS = [1, 16, 17, 17, 40, 90]


def _expected(reference, ids, pooling):
    with torch.inference_mode():
        states = reference.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    pooled = {"last": states[-1], "mean": states.mean(0), "max": states.amax(0)}[pooling]
    return pooled.numpy()


def _check(embedder, reference, batch, pooling) -> None:
    found = embedder.embed(batch, normalize=False)
    for ids, vector in zip(batch, found, strict=True):
        expected = _expected(reference, ids, pooling)
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_equal_those_of_transformers(
    tiny_model, open_tiny, token_ids, family, pooling
) -> None:
    tiny = tiny_model(family, **FAMILIES[family])
    embedder = open_tiny(tiny.path, pooling=pooling)
    batch = token_ids(LENGTHS)
    _check(embedder, tiny.reference, batch, pooling)
    _check(embedder, tiny.reference, batch[2:], pooling)


def test_the_pooling_of_a_decoder_without_configuration_is_the_last_token(
    tiny_model, open_tiny
) -> None:
    embedder = open_tiny(tiny_model("llama").path)
    assert (embedder.pooling, embedder.normalizes, embedder.max_length) == ("last", False, 512)


def test_longrope_switches_text_by_text(tiny_model, open_tiny, token_ids) -> None:
    pairs = 8
    tiny = tiny_model(
        "phi3",
        max_position_embeddings=128,
        original_max_position_embeddings=32,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * pairs,
            "long_factor": [1.0 + i for i in range(pairs)],
            "original_max_position_embeddings": 32,
        },
    )
    embedder = open_tiny(tiny.path)
    batch = token_ids([20, 32, 33, 60])
    _check(embedder, tiny.reference, batch, "last")


@pytest.fixture
def base_model(tiny_model, tmp_path):
    """A checkpoint as the base class saves it: no ``model.`` prefix, no output layer."""

    def make(family="qwen3", **changes):
        tiny = tiny_model(family, **{"head_dim": 16, **changes})
        path = tmp_path / "base"
        shutil.copytree(tiny.path, path)
        weights = {
            name.removeprefix("model."): tensor
            for name, tensor in load_file(path / "model.safetensors").items()
            if name != "lm_head.weight"
        }
        save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
        file = path / "config.json"
        config = {**json.loads(file.read_text()), "architectures": ["Qwen3Model"]}
        file.write_text(json.dumps(config))
        return path, tiny.reference

    return make


def test_a_base_model_embeds_and_does_not_generate(base_model, token_ids) -> None:
    path, reference = base_model()
    model = load_model(describe(path), DeviceAdapter("cpu"), LoadOptions(dtype="float32"))
    _check(open_embedder(model, EmbedderConfig()), reference, token_ids(LENGTHS), "last")
    with pytest.raises(UnsupportedModelError, match=r"Qwen3Model.*no output layer") as caught:
        open_runner(model, RunnerConfig(max_slots=1, max_model_len=64))
    assert "EmbeddingEngine" in caught.value.hint


def test_a_base_model_with_tied_embeddings_generates_too(base_model) -> None:
    path, _ = base_model(tie_word_embeddings=True)
    model = load_model(describe(path), DeviceAdapter("cpu"), LoadOptions(dtype="float32"))
    open_runner(model, RunnerConfig(max_slots=1, max_model_len=64)).close()


class _Rounding(DeviceAdapter):
    quantizations = ("int8",)

    def default_quantization(self, parameters: int) -> str:
        return "int8"


@pytest.mark.parametrize("sign", ["none", "no output layer", "modules.json"])
def test_decoders_made_to_embed_are_exact_unless_asked(base_model, sign) -> None:
    path, _ = base_model(tie_word_embeddings=sign != "no output layer")
    if sign == "modules.json":
        (path / sign).write_text("[]")
    model = load_model(describe(path), _Rounding("cpu"), LoadOptions())
    assert model.quantization == ("int8" if sign == "none" else "none")
    asked = load_model(describe(path), _Rounding("cpu"), LoadOptions(quantization="int8"))
    assert asked.quantization == "int8"


def test_a_decoder_opened_to_embed_is_exact_unless_asked(base_model) -> None:
    path, _ = base_model(tie_word_embeddings=True)
    for asked, used in ((None, "none"), ("int8", "int8")):
        options = LoadOptions(quantization=asked, capability="embed")
        assert load_model(describe(path), _Rounding("cpu"), options).quantization == used


def test_an_encoder_opens_no_runner(tiny_encoder) -> None:
    path = tiny_encoder("bert").path
    model = load_model(describe(path), DeviceAdapter("cpu"), LoadOptions(dtype="float32"))
    with pytest.raises(UnsupportedModelError, match="only embeds"):
        open_runner(model, RunnerConfig(max_slots=1, max_model_len=64))


def test_the_first_token_of_a_decoder_is_no_pooling(tiny_model, open_tiny) -> None:
    with pytest.raises(ConfigurationError, match="cls"):
        open_tiny(tiny_model("llama").path, pooling="cls")
