"""Tiny models through the adapter, with stand-ins for torch_npu's operators.

What they must give comes from a reference in NumPy and from the kit's own operators on the CPU. The
simulated device, where every operator passes Python, does the same with shorter texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sagellm_ascend import plugin
from sagellm_ascend.adapter import NPUAdapter
from sagellm_ascend.operators import NAMES
from sagellm_ascend.testing import RecordingOperators, StandInOperators, StandInRuntime
from sagellm_torch import DeviceAdapter, TorchModel, load_model, open_embedder

from sagellm_core.contract import (
    EmbedderConfig,
    LoadOptions,
    PrefillRow,
    RunnerConfig,
    SamplingParams,
    SlotStart,
)

#: name: (family, changes, what computes attention). Windows are shorter and longer than a block.
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "llama": ("llama", {}, "BSND"),
    "llama, heads of 64": ("llama", {"head_dim": 64}, "TND"),
    "llama, no groups": ("llama", {"num_key_value_heads": 4}, "BSND"),
    "qwen2": ("qwen2", {}, "BSND"),
    "qwen3": ("qwen3", {}, "TND"),
    "mistral": ("mistral", {}, "BSND"),
    "mistral, heads of 64": ("mistral", {"head_dim": 64}, "TND"),
    "mistral, window of 140": ("mistral", {"sliding_window": 140, "head_dim": 64}, "TND"),
}
_LENGTHS = (1, 20, 129, 200)
_NEW = 5


def _load(tiny: Any, adapter: DeviceAdapter, dtype: str = "float32") -> TorchModel:
    return load_model(tiny.description, adapter, LoadOptions(dtype=dtype))


def _open(model: TorchModel, **changes: Any):
    settings = {"max_slots": 8, "max_model_len": 256, "num_blocks": 16, **changes}
    return plugin.sagellm_open_runner(model, RunnerConfig(**settings))


def _used(operators: RecordingOperators) -> tuple[set[str], set[str]]:
    """Names of operators that were called, and the layouts of attention."""
    return {call.name for call in operators.calls}, {
        call.named["input_layout"]
        for call in operators.calls
        if call.name == "npu_fused_infer_attention_score"
    }


@pytest.mark.parametrize("case", CASES)
def test_greedy_tokens(case, tiny, drive, prompts) -> None:
    name, changes, layout = CASES[case]
    made = tiny(name, **changes)
    batch = prompts(_LENGTHS)
    expected = [made.greedy(prompt, _NEW) for prompt in batch]
    assert drive(_open(_load(made, DeviceAdapter("cpu")))).generate(batch, _NEW) == expected

    operators = RecordingOperators(StandInOperators())
    model = _load(made, NPUAdapter("cpu", StandInRuntime(operators)))
    together = drive(_open(model))
    assert together.runner.capacity.block_size == 128
    assert together.generate(batch, _NEW) == expected
    assert together.generate(batch, _NEW, chunk=37) == expected
    # Chunks of one token, and of a block and one more.
    assert together.generate(batch[1:2], _NEW, chunk=1) == expected[1:2]
    assert together.generate(batch[2:], _NEW, chunk=129) == expected[2:]
    alone = drive(_open(model, block_size=256))
    assert alone.runner.capacity.block_size == 256
    assert [alone.generate([prompt], _NEW)[0] for prompt in batch] == expected
    assert model.notes == ()
    assert _used(operators) == (set(NAMES), {"BSND", layout})


@pytest.mark.parametrize("name", ["llama", "qwen3", "mistral"])
def test_greedy_tokens_on_the_simulated_device(name, sim, tiny, drive, prompts) -> None:
    made = tiny(name)
    batch = prompts([3, 140])
    expected = [made.greedy(prompt, 3) for prompt in batch]
    operators = RecordingOperators(StandInOperators())
    driver = drive(_open(_load(made, NPUAdapter("sim", StandInRuntime(operators)))))
    assert driver.generate(batch, 3) == expected
    assert driver.generate(batch, 3, chunk=50) == expected
    assert _used(operators)[0] == set(NAMES)


@pytest.mark.parametrize("name", ["llama", "qwen3", "mistral"])
def test_a_cached_prefix(name, tiny, prompts) -> None:
    """A sequence that begins with a full block of another one."""
    made = tiny(name)
    first, other = prompts([150, 20])
    second = [*first[:128], *other]
    runner = _open(_load(made, NPUAdapter("cpu", StandInRuntime())))

    def prefill(slot: int, prompt: list[int], blocks: tuple[int, ...], cached: int) -> int:
        begin = SlotStart(
            sampling=SamplingParams(temperature=0, seed=0),
            prompt_len=len(prompt),
            cached_token_ids=tuple(prompt[:cached]),
        )
        row = PrefillRow(
            slot=slot, token_ids=prompt[cached:], start=cached, new_blocks=blocks, begin=begin
        )
        return runner.prefill([row]).result().token_ids[0]

    assert [prefill(0, first, (5, 2), 0)] == made.greedy(first, 1)
    assert [prefill(1, second, (5, 9), 128)] == made.greedy(second, 1)
    runner.close()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays_near(dtype, tiny, prompts) -> None:
    made = tiny("qwen3")
    (prompt,) = prompts([150])
    model = _load(
        made,
        NPUAdapter("cpu", StandInRuntime(attention_types=(torch.float16, torch.bfloat16))),
        dtype,
    )
    embedder = open_embedder(model, EmbedderConfig())
    vector = np.asarray(embedder.embed([prompt], normalize=True))[0]
    embedder.close()
    expected = made.reference.hidden(prompt)[-1]
    expected = expected / np.linalg.norm(expected)
    assert float(vector @ expected) > (0.9999 if dtype == "float16" else 0.995)
    assert model.notes == ()


def test_a_decoder_embeds_texts_of_any_length(tiny, prompts) -> None:
    made = tiny("llama")
    model = _load(made, NPUAdapter("cpu", StandInRuntime()))
    embedder = open_embedder(model, EmbedderConfig())
    texts = sorted(prompts([1, 17, 150]), key=len, reverse=True)
    vectors = np.asarray(embedder.embed(texts, normalize=False))
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, made.reference.hidden(text)[-1], rtol=1e-3, atol=1e-3)
    embedder.close()


def test_without_fused_operators_answers_are_the_same(tiny, drive, prompts) -> None:
    made = tiny("mistral")
    batch = prompts([5, 140])
    expected = [made.greedy(prompt, _NEW) for prompt in batch]
    runtime = StandInRuntime(operators=None, chip="Ascend310P3", bfloat16=False)
    model = _load(made, NPUAdapter("cpu", runtime))
    assert drive(_open(model)).generate(batch, _NEW, chunk=50) == expected
    assert model.notes == ("Ascend310P3 has no fused operators: torch's own compute.",)
    off = _load(made, NPUAdapter("cpu", StandInRuntime(), {"fused_operators": "off"}))
    assert drive(_open(off)).generate(batch, _NEW) == expected
    assert off.notes == ()


def test_scaled_rotations_are_left_to_torch(tiny, drive, prompts) -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    made = tiny("llama", rope_scaling=yarn)
    batch = prompts([5, 140])
    expected = drive(_open(_load(made, DeviceAdapter("cpu")))).generate(batch, _NEW)
    operators = RecordingOperators(StandInOperators())
    model = _load(made, NPUAdapter("cpu", StandInRuntime(operators)))
    assert drive(_open(model)).generate(batch, _NEW) == expected
    assert model.notes == (
        "Rotary embeddings run in torch's own operators: the model scales them.",
    )
    assert "npu_rotary_mul" not in {call.name for call in operators.calls}


def test_an_old_torch_npu_does_not_write_caches(tiny, drive, prompts) -> None:
    made = tiny("qwen3")
    batch = prompts([5, 140])
    expected = [made.greedy(prompt, _NEW) for prompt in batch]
    operators = RecordingOperators(StandInOperators())
    model = _load(made, NPUAdapter("cpu", StandInRuntime(operators, writes_caches=False)))
    assert drive(_open(model)).generate(batch, _NEW, chunk=50) == expected
    assert "npu_scatter_pa_kv_cache" not in {call.name for call in operators.calls}


def test_decoding_waits_for_nothing(sim, tiny, drive, prompts) -> None:
    """Lengths are host integers that the engine knows; nothing is read back to make a step."""

    class Unchecked(StandInOperators):
        def npu_rotary_mul(self, input, r1, r2, rotary_mode="half"):
            turned = torch.stack((-input[..., 1::2], input[..., ::2]), dim=-1).flatten(-2)
            return input * r1 + turned * r2

        def npu_fused_infer_attention_score(self, query, key, value, **named):
            return query.clone(), query

    made = tiny("mistral")
    runner = _open(_load(made, NPUAdapter("sim", StandInRuntime(Unchecked()))))
    driver = drive(runner)
    driver.generate(prompts([3]), 1)  # The triangle that masks is copied once.
    with sim.watch() as seen:
        driver.generate(prompts([150, 20]), 3)
    waits = {copy.place for copy in seen.copies if copy.waits}
    assert waits
    assert all(place.startswith("sagellm_ascend.testing.runtime:") for place in waits)
