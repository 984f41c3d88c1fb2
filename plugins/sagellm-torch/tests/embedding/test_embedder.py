"""The embedder: order, batches, lengths, errors; and texts cut as tokenizers cut them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sagellm_torch import DeviceAdapter, load_model, open_embedder
from sagellm_torch.embedding.pack import pack, slices

from sagellm_core.contract import (
    ConfigurationError,
    DeviceOutOfMemoryError,
    Embedder,
    EmbedderConfig,
    EmptyPromptError,
    EngineClosedError,
    InvalidRequestError,
    LoadOptions,
    ModelFormatError,
    PromptTooLongError,
    TokenizerError,
)
from sagellm_core.models import describe

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "house", "home", "is", "the", "not"]


class SmallPasses(DeviceAdapter):
    """Goes through the model a few tokens at a time."""

    embedding_tokens = 40


@pytest.fixture
def embedder(tiny_encoder, open_tiny):
    return open_tiny(tiny_encoder("bert").path)


def test_it_is_an_embedder(embedder) -> None:
    assert isinstance(embedder, Embedder)
    assert (embedder.dimension, embedder.max_length) == (48, 66)
    assert (embedder.pooling, embedder.normalizes, embedder.prompts) == ("mean", False, {})


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_vector_does_not_depend_on_its_batch(data, tiny_encoder) -> None:
    path = tiny_encoder("bert").path
    adapter = data.draw(st.sampled_from([DeviceAdapter, SmallPasses]))("cpu")
    model = load_model(describe(path), adapter, LoadOptions(dtype="float32"))
    embedder = open_embedder(model, EmbedderConfig())
    ids = st.lists(st.integers(2, 210), min_size=1, max_size=66)
    batch = data.draw(st.lists(ids, min_size=1, max_size=8))
    together = embedder.embed(batch, normalize=True)
    for text, vector in zip(batch, together, strict=True):
        np.testing.assert_allclose(
            vector, embedder.embed([text], normalize=True)[0], rtol=0, atol=1e-6
        )


def test_normalisation_is_as_asked(embedder, token_ids) -> None:
    batch = token_ids([3, 30])
    plain = embedder.embed(batch, normalize=False)
    unit = embedder.embed(batch, normalize=True)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    assert not np.allclose(lengths, 1, atol=0.01)
    np.testing.assert_allclose(unit, plain / lengths, rtol=0, atol=1e-6)


def test_the_array_is_what_the_contract_says(embedder, token_ids) -> None:
    view = memoryview(embedder.embed(token_ids([3, 30, 4]), normalize=True))
    assert (view.format, view.shape, view.c_contiguous) == ("f", (3, 48), True)
    assert embedder.embed([], normalize=True).shape == (0, 48)


def test_inputs_that_cannot_be_embedded(embedder) -> None:
    with pytest.raises(EmptyPromptError, match="Input 1 of 2"):
        embedder.embed([[5], []], normalize=True)
    with pytest.raises(PromptTooLongError, match="67 tokens; the most is 66"):
        embedder.embed([[5] * 67], normalize=True)
    for foreign in (211, -1):
        with pytest.raises(InvalidRequestError, match=f"token id {foreign};.*0 to 210"):
            embedder.embed([[5], [6, foreign]], normalize=True)


def test_closing(tiny_encoder, token_ids) -> None:
    model = load_model(
        describe(tiny_encoder("bert").path), DeviceAdapter("cpu"), LoadOptions(dtype="float32")
    )
    first, second = (open_embedder(model, EmbedderConfig()) for _ in range(2))
    first.close()
    first.close()
    with pytest.raises(EngineClosedError):
        first.embed([[5]], normalize=True)
    assert second.embed([[5]], normalize=True).shape == (1, 48)
    model.close()
    with pytest.raises(EngineClosedError):
        open_embedder(model, EmbedderConfig())


def test_memory_that_runs_out(tiny_encoder, open_tiny) -> None:
    class Full(DeviceAdapter):
        def attend_full(self, qkv, groups, num_heads, bias):
            raise torch.OutOfMemoryError("out of memory")

    embedder = open_tiny(tiny_encoder("bert").path, Full("cpu"))
    with pytest.raises(DeviceOutOfMemoryError):
        embedder.embed([[5]], normalize=True)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling": "median"}, "'median'"),
        ({"max_length": 0}, "max_length=0"),
        ({"max_length": 67}, "1 to 66 tokens"),
        ({"max_length": True}, "True"),
    ],
)
def test_configurations_that_cannot_be(tiny_encoder, open_tiny, config, named) -> None:
    with pytest.raises(ConfigurationError, match=named):
        open_tiny(tiny_encoder("bert").path, **config)


def test_dense_layers(tiny_encoder, open_tiny, sentence_layout, token_ids, tmp_path) -> None:
    path = tmp_path / "model"
    tiny = tiny_encoder("bert")
    shutil.copytree(tiny.path, path)
    layers = [
        {"in_features": 48, "out_features": 20, "bias": True},
        {
            "in_features": 20,
            "out_features": 31,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    ]
    mean = {"pooling_mode_mean_tokens": True}
    sentence_layout(path, mean, [*(("Dense", layer) for layer in layers), ("Normalize", {})])
    first = torch.nn.Linear(48, 20)
    second = torch.nn.Linear(20, 31, bias=False)
    for folder, layer in (("2_Dense", first), ("3_Dense", second)):
        state = {f"linear.{name}": value.detach() for name, value in layer.named_parameters()}
        save_file(state, path / folder / "model.safetensors")
    embedder = open_tiny(path)
    assert (embedder.dimension, embedder.normalizes) == (31, True)
    (ids,) = token_ids([12])
    with torch.no_grad():
        pooled = torch.from_numpy(tiny.pooled(ids, "mean").copy())
        expected = second(torch.tanh(first(pooled)))
    np.testing.assert_allclose(embedder.embed([ids], normalize=False)[0], expected, atol=1e-5)
    save_file({"linear.weight": torch.zeros(2, 2)}, path / "2_Dense/model.safetensors")
    with pytest.raises(ModelFormatError, match="2_Dense"):
        open_tiny(path)


@given(
    st.lists(st.integers(1, 50), max_size=30).map(lambda found: sorted(found, reverse=True)),
    st.integers(1, 100),
)
def test_slices_cover_everything_once_within_the_budget(lengths, budget) -> None:
    parts = list(slices(lengths, budget))
    assert [i for part in parts for i in range(len(lengths))[part]] == list(range(len(lengths)))
    for part in parts:
        assert len(lengths[part]) == 1 or sum(lengths[part]) <= budget


@given(st.lists(st.integers(1, 6), min_size=1, max_size=20))
def test_groups_cover_every_token_once(lengths) -> None:
    lengths = sorted(lengths, reverse=True)
    packed = pack([[length] * length for length in lengths], torch.device("cpu"))
    covered = []
    for group in packed.groups:
        assert set(packed.tokens[group.rows].tolist()) == {group.length}
        covered += range(group.rows.start, group.rows.stop)
    assert covered == list(range(sum(lengths)))
    assert packed.positions().tolist() == [i for length in lengths for i in range(length)]
    assert packed.tokens[packed.first_rows()].tolist() == lengths
    assert (packed.last_rows() - packed.first_rows() + 1).tolist() == lengths


# --- texts ---------------------------------------------------------------------------------


@pytest.fixture
def with_tokenizer(tiny_encoder, tmp_path):
    """A tiny BERT with a word tokenizer that frames texts in [CLS] and [SEP]."""

    def make(*, frame=True, **settings):
        path = tmp_path / "model"
        shutil.copytree(tiny_encoder("bert").path, path)
        vocab = {word: index for index, word in enumerate(WORDS)}
        pipeline = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="[UNK]"))
        pipeline.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        pipeline.add_special_tokens(WORDS[:4])
        if frame:
            pipeline.post_processor = tokenizers.processors.TemplateProcessing(
                single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
            )
        # What a training run may have left there.
        pipeline.enable_truncation(5)
        pipeline.enable_padding(length=9)
        pipeline.save(str(path / "tokenizer.json"))
        (path / "tokenizer_config.json").write_text(json.dumps(settings))
        return path

    return make


TEXTS = ["the house is a home", "", "home", "the house [SEP] is not the home [SEP]"]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("length", [3, 4, 5, 7, 30])
def test_texts_are_cut_as_the_library_cuts_them(with_tokenizer, open_tiny, length, side) -> None:
    path = with_tokenizer(truncation_side=side)
    found = open_tiny(path, max_length=length).encode(TEXTS)
    reference = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
    reference.no_padding()
    reference.no_truncation()
    assert found.lengths == [len(reference.encode(text).ids) for text in TEXTS]
    reference.enable_truncation(length, direction=side)
    assert found.token_ids == [reference.encode(text).ids for text in TEXTS]


def test_a_model_that_frames_nothing(with_tokenizer, open_tiny) -> None:
    found = open_tiny(with_tokenizer(frame=False), max_length=2).encode(TEXTS[:2])
    assert (found.token_ids, found.lengths) == ([[8, 5], []], [5, 0])


def test_a_length_without_place_for_text(with_tokenizer, open_tiny) -> None:
    with pytest.raises(ConfigurationError, match="2 special tokens"):
        open_tiny(with_tokenizer(), max_length=2)


def test_case_is_lowered_where_asked(with_tokenizer, open_tiny, sentence_layout) -> None:
    path = with_tokenizer()
    assert open_tiny(path).encode(["The HOUSE"]).token_ids == [[2, 1, 1, 3]]
    mean = {"pooling_mode_mean_tokens": True}
    sentence_layout(path, mean, transformer={"do_lower_case": True})
    # Special tokens are found before the case is lowered.
    assert open_tiny(path).encode(["The HOUSE [SEP]"]).token_ids == [[2, 8, 5, 3, 3]]


@pytest.mark.parametrize("wrong", [None, 5, ("a", "b"), "lone \ud800"])
def test_what_is_no_text(with_tokenizer, open_tiny, wrong) -> None:
    with pytest.raises(InvalidRequestError):
        open_tiny(with_tokenizer()).encode(["fine", wrong])


def test_a_model_without_a_tokenizer_embeds_token_ids(embedder) -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        embedder.encode(["house"])
