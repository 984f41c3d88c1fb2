"""Each encoder family, held to transformers' own forward of the same random weights."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sagellm_core.contract import ModelFormatError, UnsupportedModelError

FAMILIES = ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet"]
LENGTHS = [1, 2, 2, 7, 19, 33, 33, 50, 64]


def _close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "last"])
@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_equal_those_of_transformers(
    tiny_encoder, open_tiny, token_ids, family, pooling
) -> None:
    tiny = tiny_encoder(family)
    embedder = open_tiny(tiny.path, pooling=pooling)
    batch = token_ids(LENGTHS)
    found = embedder.embed(batch, normalize=False)
    assert (found.shape, found.dtype) == ((len(batch), embedder.dimension), np.float32)
    for ids, vector in zip(batch, found, strict=True):
        _close(vector, tiny.pooled(ids, pooling))


@pytest.mark.parametrize("activation", ["relu", "gelu_new", "silu"])
def test_activations(tiny_encoder, open_tiny, token_ids, activation) -> None:
    tiny = tiny_encoder("bert", hidden_act=activation)
    (ids,) = token_ids([20])
    (vector,) = open_tiny(tiny.path).embed([ids], normalize=False)
    _close(vector, tiny.pooled(ids, "mean"))


@pytest.mark.parametrize(("family", "longest"), [("bert", 66), ("roberta", 64), ("mpnet", 64)])
def test_the_longest_input(tiny_encoder, open_tiny, token_ids, family, longest) -> None:
    tiny = tiny_encoder(family)
    embedder = open_tiny(tiny.path)
    assert embedder.max_length == longest
    (ids,) = token_ids([longest])
    _close(embedder.embed([ids], normalize=False)[0], tiny.pooled(ids, "mean"))


def test_a_long_relative_bias_reaches_the_far_buckets(tiny_encoder, open_tiny, token_ids) -> None:
    tiny = tiny_encoder("mpnet", max_position_embeddings=402)
    embedder = open_tiny(tiny.path)
    for ids in token_ids([12, 400, 150]):
        _close(embedder.embed([ids], normalize=False)[0], tiny.pooled(ids, "mean"))


@pytest.mark.parametrize("family", ["roberta", "mpnet"])
def test_padding_tokens_inside_a_text_take_no_place(
    tiny_encoder, open_tiny, token_ids, family
) -> None:
    tiny = tiny_encoder(family)
    first, second, third = token_ids([9, 6, 9])
    second[2] = second[5] = 1
    third[0] = 1
    found = open_tiny(tiny.path).embed([first, second, third], normalize=False)
    for ids, vector in zip((first, second, third), found, strict=True):
        _close(vector, tiny.pooled(ids, "mean"))


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "mpnet"])
def test_an_encoder_saved_under_a_head_for_masked_words(
    tiny_encoder, open_tiny, token_ids, family
) -> None:
    tiny = tiny_encoder(family, head="ForMaskedLM")
    assert any(name.startswith(f"{family}.") for name in load_file(tiny.path / "model.safetensors"))
    (ids,) = token_ids([15])
    _close(open_tiny(tiny.path).embed([ids], normalize=False)[0], tiny.pooled(ids, "mean"))


@pytest.fixture
def copy(tiny_encoder, tmp_path):
    """A copy of a tiny BERT whose config and tensors can be changed."""

    def make(*, config=(), tensors=None):
        path = tmp_path / "model"
        shutil.copytree(tiny_encoder("bert").path, path)
        file = path / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **dict(config)}))
        if tensors:
            weights = load_file(path / "model.safetensors")
            weights = tensors(weights) or weights
            save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
        return path

    return make


def test_norms_as_tensorflow_names_them(copy, tiny_encoder, open_tiny, token_ids) -> None:
    def rename(weights):
        return {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): tensor
            for name, tensor in weights.items()
        }

    (ids,) = token_ids([15])
    found = open_tiny(copy(tensors=rename)).embed([ids], normalize=False)[0]
    _close(found, tiny_encoder("bert").pooled(ids, "mean"))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"is_decoder": True}, "is_decoder=True"),
        ({"hidden_act": "mish"}, "'mish'"),
        ({"architectures": ["BertForSequenceClassification"]}, "BertForSequenceClassification"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(copy, open_tiny, config, named) -> None:
    with pytest.raises(UnsupportedModelError, match=named):
        open_tiny(copy(config=config))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"num_attention_heads": 5}, "5 attention heads"),
        ({"hidden_size": None}, "hidden_size"),
        ({"layer_norm_eps": 0}, "layer_norm_eps"),
        ({"intermediate_size": 81}, r"\[80, 48\].*\[81, 48\]"),
    ],
)
def test_a_config_that_does_not_fit(copy, open_tiny, config, named) -> None:
    with pytest.raises(ModelFormatError, match=named):
        open_tiny(copy(config=config))


def test_a_missing_tensor_is_named(copy, open_tiny) -> None:
    gone = "encoder.layer.1.output.dense.bias"
    path = copy(tensors=lambda w: {name: w[name] for name in w if name != gone})
    with pytest.raises(ModelFormatError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        open_tiny(path)


def test_tensors_that_would_be_left_out_are_refused(copy, open_tiny) -> None:
    def add(weights):
        weights["encoder.layer.0.adapter.weight"] = torch.zeros(4)

    with pytest.raises(UnsupportedModelError, match=r"encoder\.layer\.0\.adapter\.weight"):
        open_tiny(copy(tensors=add))
