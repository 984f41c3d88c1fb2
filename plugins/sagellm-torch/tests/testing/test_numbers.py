"""The kit's whole path gives on a device what it gives on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sagellm_torch import TorchModel, open_embedder

from sagellm_core.contract import EmbedderConfig, SamplingParams, StepResult

_GREEDY = SamplingParams(temperature=0, seed=0, logprobs=2)
_SAMPLINGS = [
    SamplingParams(temperature=0, seed=0),
    SamplingParams(temperature=1.3, seed=5, logprobs=4),
    SamplingParams(temperature=0.8, top_p=0.8, seed=5, repetition_penalty=1.3),
    SamplingParams(temperature=1.0, top_k=10, min_p=0.01, seed=6, frequency_penalty=1.0),
    SamplingParams(temperature=0, seed=1, presence_penalty=0.7, logprobs=0),
    SamplingParams(temperature=1.0, seed=7, logit_bias={5: 4.0, 9: -2.0}, top_p=0.95),
]
_LONGROPE = {
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0 + 0.05 * i for i in range(8)],
        "long_factor": [1.5 + 0.9 * i for i in range(8)],
    },
    "original_max_position_embeddings": 32,
}
_GEMMA = {"head_dim": 16, "sliding_window": 9, "query_pre_attn_scalar": 24}
_FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"attention_bias": True}),
    "mistral": ("mistral", {"sliding_window": 9, "head_dim": 32}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 24, "tie_word_embeddings": True}),
    "gemma": ("gemma", {"head_dim": 24, "tie_word_embeddings": True}),
    "gemma2": ("gemma2", {**_GEMMA, "attn_logit_softcapping": 5.0, "tie_word_embeddings": True}),
    "gemma3": ("gemma3_text", {**_GEMMA, "num_hidden_layers": 7, "tie_word_embeddings": True}),
    "phi3-longrope": ("phi3", _LONGROPE),
    "granite (transformers)": ("granite", {"embedding_multiplier": 3.0, "logits_scaling": 2.0}),
    "gpt2 (transformers)": ("gpt2", {}),
}


class _Recorder:
    """A runner that remembers what its steps gave."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self.results: list[StepResult] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def prefill(self, rows: Any) -> Any:
        return self._noted(self._runner.prefill(rows))

    def decode(self, rows: Any) -> Any:
        return self._noted(self._runner.decode(rows))

    def _noted(self, handle: Any) -> Any:
        self.results.append(handle.result())
        return handle


def _assert_same(found: list[StepResult], expected: list[StepResult], tolerance: float = 1e-4):
    """Equal tokens, and log-probabilities but for rounding.

    Matrix products differ in their last bits with where weights lie in memory, and a checkpoint's
    lie elsewhere than copies of them.
    """
    assert [result.token_ids for result in found] == [result.token_ids for result in expected]
    count = 0
    for mine, theirs in zip(found, expected, strict=True):
        for a, b in zip(mine.logprobs or (), theirs.logprobs or (), strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                count += 1
                assert [token for token, _ in a.top] == [token for token, _ in b.top]
                assert [value for _, value in a.top] == pytest.approx(
                    [value for _, value in b.top], abs=tolerance
                )
                assert a.logprob == pytest.approx(b.logprob, abs=tolerance)
    assert count > 9


@pytest.fixture
def results(drive, prompts):
    """What every step gives: prompts in chunks and decodes side by side, in scattered blocks."""

    def of(model: TorchModel, sampling: list[SamplingParams]) -> list[StepResult]:
        driver = drive(model, block_size=4)
        recorder = _Recorder(driver.runner)
        driver.runner = recorder
        batch = prompts([4, 21, 9, 30, 1, 13][: len(sampling)])
        driver.generate(batch, 9, chunk=8, sampling=sampling)
        return recorder.results

    return of


@pytest.mark.parametrize("family", _FAMILIES)
def test_families(family, tiny_model, on_sim, on_cpu, results) -> None:
    model_type, changes = _FAMILIES[family]
    path = tiny_model(model_type, **changes).path
    sampling = [_GREEDY] * 4
    _assert_same(results(on_sim(path), sampling), results(on_cpu(path), sampling))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_sampling(dtype, tiny_model, on_sim, on_cpu, results) -> None:
    path = tiny_model("llama").path
    model = on_sim(path, dtype=dtype)
    assert model.dtype == dtype
    there, here = results(model, _SAMPLINGS), results(on_cpu(path, dtype=dtype), _SAMPLINGS)
    _assert_same(there, here, 1e-4 if dtype == "float32" else 0.05)


def test_a_nucleus_of_many_tokens_is_found_without_looking(sim, on_sim, on_cpu, tiny_model, drive):
    # The CPU looks at 512 logits first, which hold too little here; a device sorts them all.
    path = tiny_model("llama", vocab_size=1500, initializer_range=0.01).path
    wide = [SamplingParams(temperature=2.0, top_p=0.97, seed=seed) for seed in range(3)]
    found = [
        drive(model).generate([[5, 9], [7], [11, 3, 8]], 6, sampling=wide)
        for model in (on_sim(path), on_cpu(path))
    ]
    assert found[0] == found[1]
    assert max(max(tokens) for tokens in found[0]) > 600


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_weights_of_few_bits(quantization, tiny_model, on_sim, on_cpu, results) -> None:
    path = tiny_model("llama", tie_word_embeddings=True).path
    sampling = [_GREEDY] * 2
    there = on_sim(path, quantization=quantization)
    assert there.quantization == quantization
    here = on_cpu(path, quantization=quantization)
    _assert_same(results(there, sampling), results(here, sampling))


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_embeddings_of_encoders(model_type, pooling, encoder_path, on_sim, on_cpu, prompts) -> None:
    path = encoder_path(model_type)
    batch = prompts([3, 17, 1, 17, 40], vocab=190)
    batch[1][4] = batch[1][9] = 1  # padding that stands inside a text
    found = [
        open_embedder(model, EmbedderConfig(pooling=pooling)).embed(batch, normalize=True)
        for model in (on_sim(path), on_cpu(path), on_sim(path, quantization="int8"))
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert (found[0] * found[2]).sum(1).min() > 0.99


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_embeddings_of_decoders(pooling, tiny_model, on_sim, on_cpu, prompts) -> None:
    path = tiny_model("phi3", **_LONGROPE).path
    batch = prompts([3, 17, 50, 1])  # one of them past LongRoPE's switch
    found = [
        open_embedder(model, EmbedderConfig(pooling=pooling)).embed(batch, normalize=False)
        for model in (on_sim(path), on_cpu(path))
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_everything_was_on_the_device(tiny_model, on_sim, drive, prompts) -> None:
    model = on_sim(tiny_model("llama").path)
    driver = drive(model)
    weights = model.decoder.weights
    tensors = [
        weights.final_norm,
        weights.layers[0].qkv.weight,
        weights.head.weight,
        weights.embedding.table,
        driver.runner._cache.layers[0][0],
    ]
    assert {tensor.device for tensor in tensors} == {torch.device("sim", 0)}
    assert model.adapter.device == torch.device("sim:0")
