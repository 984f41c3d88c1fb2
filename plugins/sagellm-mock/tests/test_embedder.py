from __future__ import annotations

from math import fsum, sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagellm_mock import plugin
from sagellm_mock.embedder import MockEmbedder
from sagellm_mock.tokenizer import MockTokenizer

from sagellm_core.contract import (
    ConfigurationError,
    Embedder,
    EmbedderConfig,
    InvalidRequestError,
    PromptTooLongError,
    UnsupportedOptionError,
)

ENCODE = MockTokenizer().encode
EMBEDDER = MockEmbedder(64, 8192, EmbedderConfig())


def similarity(left: list[float], right: list[float]) -> float:
    return fsum(a * b for a, b in zip(left, right, strict=True))


def vectors(*texts: str) -> list[list[float]]:
    token_ids = EMBEDDER.encode(texts).token_ids
    return EMBEDDER.embed(token_ids, normalize=True).tolist()  # type: ignore[return-value]


def test_it_is_an_embedder(load_model: Any) -> None:
    embedder = plugin.sagellm_open_embedder(
        load_model(embedding_dimension=300), EmbedderConfig(max_length=5)
    )
    assert isinstance(embedder, Embedder)
    assert embedder.dimension == 300
    assert embedder.embed([[1], [2]], normalize=True).shape == (2, 300)
    assert (embedder.max_length, embedder.pooling, embedder.normalizes) == (5, "mean", True)
    assert embedder.prompts == {}
    embedder.close()
    embedder.close()


def test_the_buffer_is_float32_in_rows() -> None:
    buffer = EMBEDDER.embed([[1, 2], [3], [1, 2]], normalize=True)
    assert (buffer.format, buffer.itemsize, buffer.shape) == ("f", 4, (3, 64))
    assert buffer.c_contiguous
    rows = buffer.tolist()
    assert rows[0] == rows[2] != rows[1]


@given(st.lists(st.integers(0, 600), min_size=1, max_size=40))
def test_vectors_have_length_one(tokens: list[int]) -> None:
    (vector,) = EMBEDDER.embed([tokens], normalize=True).tolist()
    assert sqrt(similarity(vector, vector)) == pytest.approx(1, abs=1e-6)


@given(
    st.lists(st.integers(0, 600), min_size=1, max_size=8),
    st.lists(st.integers(0, 600), min_size=1, max_size=8),
)
def test_equal_inputs_equal_vectors(left: list[int], right: list[int]) -> None:
    a, b = EMBEDDER.embed([left, right], normalize=True).tolist()
    assert (a == b) == (left == right) or set(left) == set(right)


def test_the_order_of_words_matters() -> None:
    a, b = vectors("dog bites man", "man bites dog")
    assert a != b
    assert similarity(a, b) > 0.5


def test_similar_texts_are_nearer_than_others() -> None:
    a, b, c = vectors(
        "The quiet river crosses the green valley.",
        "The quiet river crosses the old valley.",
        "Please explain how a program sells data?",
    )
    assert similarity(a, b) > similarity(a, c) + 0.2


def test_without_normalizing_longer_texts_are_not_scaled_to_one() -> None:
    (vector,) = EMBEDDER.embed([[1, 2, 3]], normalize=False).tolist()
    assert similarity(vector, vector) > 1.5


def test_what_cancels_out_still_has_a_direction() -> None:
    embedder = MockEmbedder(2, 100, EmbedderConfig())
    for first in range(30):
        for second in range(30):
            (vector,) = embedder.embed([[first, second]], normalize=True).tolist()
            assert similarity(vector, vector) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("batch", [[], [[]], [[1], []]])
def test_nothing_to_embed_is_refused(batch: list[list[int]]) -> None:
    with pytest.raises(InvalidRequestError):
        EMBEDDER.embed(batch, normalize=True)


def test_too_long_an_input_is_refused_with_the_numbers() -> None:
    embedder = MockEmbedder(8, 100, EmbedderConfig(max_length=3))
    with pytest.raises(PromptTooLongError, match="4 tokens, and the limit is 3"):
        embedder.embed([[1, 2, 3, 4]], normalize=True)


def test_texts_are_cut_and_their_lengths_told() -> None:
    embedder = MockEmbedder(8, 100, EmbedderConfig(max_length=3))
    texts = ["abcdef", "", "The river follows the quiet road."]
    tokenized = embedder.encode(texts)
    assert [len(tokens) for tokens in tokenized.token_ids] == [3, 0, 3]
    assert list(tokenized.lengths) == [len(ENCODE(text)) for text in texts]
    assert tokenized.token_ids[2] == ENCODE(texts[2])[:3]


def test_half_a_surrogate_pair_is_refused_with_its_text() -> None:
    with pytest.raises(InvalidRequestError, match=r"Text 1 .*U\+D83D"):
        EMBEDDER.encode(["fine", "\ud83d"])


def test_prompts_are_an_option(load_model: Any) -> None:
    prompts = {"": "passage: ", "query": "query: "}
    model = load_model(embedding_prompts=prompts)
    assert plugin.sagellm_open_embedder(model, EmbedderConfig()).prompts == prompts
    for wrong in ([], {"query": 1}, {1: "x"}, "query"):
        with pytest.raises(ConfigurationError, match="embedding_prompts"):
            load_model(embedding_prompts=wrong)


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_a_limit_outside_the_context_is_refused(limit: int) -> None:
    with pytest.raises(ConfigurationError, match=f"max_length={limit} .*100"):
        MockEmbedder(8, 100, EmbedderConfig(max_length=limit))


def test_another_pooling_is_refused() -> None:
    with pytest.raises(UnsupportedOptionError, match="cls"):
        MockEmbedder(8, 100, EmbedderConfig(pooling="cls"))


def test_another_providers_model_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="object"):
        plugin.sagellm_open_embedder(object(), EmbedderConfig())  # type: ignore[arg-type]
