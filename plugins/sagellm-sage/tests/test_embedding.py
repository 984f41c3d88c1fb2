"""Embeddings as an operator, in the shape that pipelines know."""

from __future__ import annotations

import math
import pickle

import pytest
from sagellm_sage import SageLLMEmbedding, release_models

import sagellm_core
from sagellm_core.contract import ConfigurationError, EngineClosedError, InvalidRequestError

MOCK = {"backend_type": "mock", "model_path": "any"}


@pytest.fixture
def embed():
    with SageLLMEmbedding(MOCK) as made:
        yield made


def _length(vector) -> float:
    return math.sqrt(sum(value * value for value in vector))


def test_a_list_of_texts(embed) -> None:
    result = embed.execute(["an otter", "a heron", "an otter"])
    first, second, third = result["vectors"]
    assert result["dimension"] == len(first) == len(second)
    assert result["model_id"] == "any"
    assert result["provider"]["name"] == "mock"
    assert first == third != second
    assert all(type(value) is float for value in first)
    assert _length(first) == pytest.approx(1)


@pytest.mark.parametrize("item", ["an otter", ["an otter"], ("an otter",)])
def test_one_text_is_a_list_of_one(embed, item) -> None:
    assert embed.execute(item)["vectors"] == embed.execute(["an otter"])["vectors"]


def test_vectors_are_those_of_the_engine(embed) -> None:
    with sagellm_core.EmbeddingEngine(**MOCK) as engine:
        assert embed.execute("a heron")["vectors"] == engine.embed(["a heron"]).tolist()


def test_no_texts(embed) -> None:
    result = embed.execute([])
    assert result["vectors"] == []
    assert result["dimension"] > 0


def test_arguments_by_position_and_by_keyword() -> None:
    embed = SageLLMEmbedding("mock", "any", normalize=False, batch_size=2, on_error="record")
    assert (embed.config.model_path, embed.config.batch_size) == ("any", 2)
    assert (embed.normalize, embed.on_error) == (False, "record")
    embed = SageLLMEmbedding({**MOCK, "normalize": False, "on_error": "record"})
    assert (embed.normalize, embed.on_error) == (False, "record")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {"batchsize": 3}),
        ((), {"normalize": "yes"}),
        ((), {"on_error": "ignore"}),
        (("mock", "any", 3), {}),
        ((MOCK, "any"), {}),
        ((MOCK,), {"model_path": "other"}),
        (({**MOCK, "normalize": True},), {"normalize": True}),
    ],
)
def test_wrong_arguments_are_refused_at_once(args, kwargs) -> None:
    with pytest.raises(ConfigurationError):
        SageLLMEmbedding(*args, **kwargs)


@pytest.mark.parametrize("item", [None, 3, {"text": "x"}, b"x", [3], ["x", None], "", [" "]])
def test_what_is_no_text(embed, item) -> None:
    with pytest.raises(InvalidRequestError):
        embed.execute(item)
    with SageLLMEmbedding(MOCK, on_error="record") as recording:
        record = recording.execute(item)
    assert (record["vectors"], record["dimension"]) == ([], None)
    assert record["error"]["code"] in ("invalid_request", "empty_prompt")
    assert record["input"] is item
    assert record["model_id"] == "any"


def test_equal_operators_share_a_model(embed) -> None:
    other = SageLLMEmbedding(MOCK, normalize=False)
    embed.load()
    other.load()
    assert release_models() == 1
    other.shutdown()
    other.shutdown()
    with pytest.raises(EngineClosedError):
        other.execute("x")


def test_a_pickle_carries_the_configuration(embed) -> None:
    expected = embed.execute("a heron")["vectors"]
    data = pickle.dumps(embed)
    assert len(data) < 2000
    with pickle.loads(data) as copy:
        assert copy.execute("a heron")["vectors"] == expected
        assert repr(copy) == "SageLLMEmbedding(backend_type='mock', model_path='any')"
