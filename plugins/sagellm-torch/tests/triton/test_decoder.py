"""Whole tiny models through the kernels: the same tokens as by the kit's plain operators."""

from __future__ import annotations

import pytest
import torch
from sagellm_torch.recorded import RecordedDecode
from sagellm_torch.triton import TritonAdapter

from sagellm_core.contract import SamplingParams

pytestmark = pytest.mark.usefixtures("interpreted")

_FAMILIES = {
    "llama": ("llama", {"attention_bias": True, "head_dim": 24}),
    "qwen3": ("qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "gemma2": (
        "gemma2",
        {
            "head_dim": 16,
            "sliding_window": 9,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 8.0,
            "tie_word_embeddings": True,
        },
    ),
    "phi3": (
        "phi3",
        {
            "sliding_window": 11,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "partial_rotary_factor": 0.5,
            },
        },
    ),
}


class _Adapter(TritonAdapter):
    """The kernels on the CPU, with decode steps recorded where there is something to do it."""

    def __init__(self, tiles, recorder=None) -> None:
        super().__init__("cpu", {"triton": "on"}, tiles)
        self._recorder = recorder

    def capture_decode(self, forward, idle, rows):
        if self._recorder is None:
            return forward
        return RecordedDecode(forward, idle, rows, self._recorder, pytest.fail)


@pytest.fixture
def by_kernels(tile_table):
    def make(recorder=None, **tiles) -> TritonAdapter:
        adapter = _Adapter(tile_table(**tiles), recorder)
        assert adapter.computes(16, torch.float32)
        return adapter

    return make


@pytest.mark.parametrize("family", _FAMILIES)
def test_greedy_tokens_are_the_same(family, tiny_model, load, drive, prompts, by_kernels) -> None:
    model_type, changes = _FAMILIES[family]
    tiny = tiny_model(model_type, num_hidden_layers=2, **changes)
    batch = prompts([1, 17, 30])
    expected = [tiny.greedy(prompt, 4) for prompt in batch]
    # Chunked, in mixed batches and scattered blocks, with keys in several parts.
    model = load(tiny.path, by_kernels(programs=8))
    assert drive(model, block_size=4).generate(batch, 4, chunk=13) == expected
    assert model.notes == ()


def test_recorded_steps_are_the_same(
    tiny_model, load, drive, prompts, by_kernels, replaying_recorder
) -> None:
    tiny = tiny_model("qwen3", num_hidden_layers=2, head_dim=16)
    recorder = replaying_recorder()
    adapter = by_kernels(recorder, programs=8)
    batch = prompts([3, 20, 9])
    expected = [tiny.greedy(prompt, 5) for prompt in batch]
    driver = drive(load(tiny.path, adapter), block_size=4)
    # Those that go on while others are prefilled: widths of one, two and four, with idle rows.
    assert driver.generate(batch, 5, chunk=8) == expected
    assert recorder.replayed >= 5
    assert recorder.left < 100


def test_a_seed_draws_the_same_tokens(tiny_model, load, drive, prompts, by_kernels) -> None:
    tiny = tiny_model("llama", num_hidden_layers=2)
    batch = prompts([9, 20])
    sampling = [SamplingParams(temperature=0.9, top_p=0.9, seed=seed) for seed in (1, 2)]
    plain = drive(load(tiny.path)).generate(batch, 6, sampling=sampling)
    kernels = drive(load(tiny.path, by_kernels())).generate(batch, 6, sampling=sampling)
    assert kernels == plain


def test_embeddings_are_the_same(tiny_model, load, prompts, by_kernels) -> None:
    from sagellm_torch import open_embedder

    from sagellm_core.contract import EmbedderConfig

    tiny = tiny_model("qwen3", num_hidden_layers=2, head_dim=16)
    batch = prompts([3, 30, 17])
    vectors = [
        open_embedder(load(tiny.path, adapter), EmbedderConfig()).embed(batch, normalize=True)
        for adapter in (None, by_kernels())
    ]
    torch.testing.assert_close(*map(torch.from_numpy, vectors), atol=1e-5, rtol=1e-5)


def test_models_through_transformers(tiny_model, load, drive, prompts, by_kernels) -> None:
    # Their code norms and rotates; attention and its cache are the kernels'.
    tiny = tiny_model("olmo2", num_hidden_layers=2)
    batch = prompts([5, 33])
    expected = [tiny.greedy(prompt, 5) for prompt in batch]
    model = load(tiny.path, by_kernels(programs=8))
    assert drive(model, block_size=4).generate(batch, 5, chunk=20) == expected
