"""Embeddings in a pipeline of the real SAGE."""

from __future__ import annotations

import pytest

import sagellm_core

_TEXTS = [
    f"Sentence {number} is about otters, " + "herons and " * (number % 9) for number in range(40)
]


@pytest.mark.parametrize("backend", ["mock", "cpu"])
def test_texts_and_lists_of_texts(pipeline, request, backend) -> None:
    model = "any" if backend == "mock" else request.getfixturevalue("minilm")
    config = {"backend_type": backend, "model_path": model}
    items = [*_TEXTS[:20], _TEXTS[20:]]
    outputs = pipeline(items, config, operator="SageLLMEmbedding")["outputs"]
    assert len(outputs) == 21
    assert [len(output["vectors"]) for output in outputs] == [1] * 20 + [20]
    assert {output["model_id"] for output in outputs} == {model}
    vectors = [vector for output in outputs for vector in output["vectors"]]
    with sagellm_core.EmbeddingEngine(config) as engine:
        direct = engine.embed(_TEXTS)
    assert outputs[0]["dimension"] == direct.shape[1]
    for ours, theirs in zip(vectors, direct.tolist(), strict=True):
        # Alone or among others, a text's sums are taken in another order.
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_items_that_fail_are_records(pipeline) -> None:
    config = {"backend_type": "mock", "model_path": "any", "on_error": "record"}
    outputs = pipeline(["a", "", "b"], config, operator="SageLLMEmbedding")["outputs"]
    assert [output.get("error", {}).get("code") for output in outputs] == [
        None,
        "empty_prompt",
        None,
    ]
