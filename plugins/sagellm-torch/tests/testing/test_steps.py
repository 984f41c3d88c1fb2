"""What a step costs the host: copies whose number does not depend on the batch, and no waiting."""

from __future__ import annotations

import pytest
from sagellm_torch import open_embedder

from sagellm_core.contract import DecodeRow, EmbedderConfig, SamplingParams

_DRAWING = SamplingParams(temperature=0.9, seed=3)
_EVERYTHING = SamplingParams(
    temperature=0.9, top_p=0.9, top_k=30, min_p=0.01, seed=4, logprobs=2, repetition_penalty=1.2,
    presence_penalty=0.3, logit_bias={4: 1.0},
)  # fmt: skip
_NUCLEUS = SamplingParams(temperature=0.9, top_p=0.9, seed=4)
_GREEDY = SamplingParams(temperature=0, seed=0)
_SAMPLINGS = {"greedy": _GREEDY, "drawing": _DRAWING, "nucleus": _NUCLEUS, "all": _EVERYTHING}


@pytest.fixture
def running(tiny_model, on_sim, drive, prompts):
    """A driver with so many sequences of different lengths that have begun to decode."""

    def start(count: int, sampling: SamplingParams, model_type: str = "llama", **changes):
        model = on_sim(tiny_model(model_type, **changes).path)
        driver = drive(model, block_size=32, max_slots=16, max_model_len=256)
        sequences = [
            driver.start(prompt, sampling) for prompt in prompts([3 + i for i in range(count)])
        ]
        driver.prefill(sequences)
        driver.decode(sequences)
        return driver, sequences

    return start


def _rows(sequences) -> list[DecodeRow]:
    return [DecodeRow(sequence.slot) for sequence in sequences]


@pytest.mark.parametrize("kind", _SAMPLINGS)
@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_decode_step_of_the_same_rows(sim, running, kind, count) -> None:
    driver, sequences = running(count, _SAMPLINGS[kind])
    with sim.watch() as seen:
        handle = driver.runner.decode(_rows(sequences))
    # Slots, lengths and places in one copy; random numbers in another.
    assert seen.host_to_device.count == (1 if kind == "greedy" else 2), seen.copies
    assert not seen.waits, seen.waits
    assert not list(seen.reads())
    with sim.watch() as seen:
        handle.result()
    # Token ids; with log-probabilities three more.
    assert len(list(seen.reads())) == (4 if kind == "all" else 1)
    assert not seen.host_to_device.count


@pytest.mark.parametrize("kind", _SAMPLINGS)
def test_the_work_of_a_step_does_not_grow_with_the_batch(sim, running, kind) -> None:
    counts = []
    for count in (2, 9):
        driver, sequences = running(count, _SAMPLINGS[kind])
        with sim.watch() as seen:
            driver.runner.decode(_rows(sequences))
        counts.append(seen.operators)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("kind", _SAMPLINGS)
def test_a_batch_that_changes_costs_two_copies_more(sim, running, kind) -> None:
    driver, sequences = running(5, _SAMPLINGS[kind])
    with sim.watch() as seen:
        driver.runner.decode(_rows(sequences[1:]))
    assert seen.host_to_device.count <= (1 if kind == "greedy" else 4), seen.copies
    assert not seen.waits, seen.waits


def test_blocks_that_rows_gain_cost_one_copy_for_all(sim, running) -> None:
    driver, sequences = running(6, _GREEDY)
    free = iter(driver.free)
    rows = [DecodeRow(sequence.slot, (next(free),)) for sequence in sequences]
    with sim.watch() as seen:
        driver.runner.decode(rows)
    assert seen.host_to_device.count == 2, seen.copies
    assert not seen.waits, seen.waits


@pytest.mark.parametrize("kind", _SAMPLINGS)
def test_the_next_step_is_queued_before_the_last_is_read(sim, running, kind) -> None:
    driver, sequences = running(4, _SAMPLINGS[kind])
    alone, twins = running(4, _SAMPLINGS[kind])
    expected = [alone.runner.decode(_rows(twins)).result() for _ in range(5)]
    with sim.watch() as seen:
        handles = [driver.runner.decode(_rows(sequences)) for _ in range(5)]
    assert not seen.waits, seen.waits
    assert not list(seen.reads())
    assert driver.runner.queues_ahead
    assert [handle.result() for handle in handles] == expected


@pytest.mark.parametrize("kind", _SAMPLINGS)
def test_a_prefill_does_not_wait(sim, running, kind, prompts) -> None:
    driver, _ = running(1, _GREEDY)
    sequences = [driver.start(prompt, _SAMPLINGS[kind]) for prompt in prompts([40, 7, 90])]
    for size in (16, 200):
        rows = [driver.chunk(s, size) for s in sequences if s.done < s.prompt_len]
        with sim.watch() as seen:
            driver.runner.prefill(rows)
        assert not seen.waits, seen.waits
        assert not list(seen.reads())
        # Blocks, tokens and places, rows that sample, their slots; settings and random numbers.
        assert seen.host_to_device.count <= (4 if kind == "greedy" else 7), seen.copies


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("gemma2", {"head_dim": 16, "sliding_window": 9, "tie_word_embeddings": True}),
        ("granite", {}),  # through transformers
        (
            "phi3",
            {
                "rope_parameters": {
                    "rope_type": "longrope",
                    "rope_theta": 10000.0,
                    "short_factor": [1.0] * 8,
                    "long_factor": [2.0] * 8,
                },
                "original_max_position_embeddings": 64,
            },
        ),
    ],
    ids=["gemma2", "granite", "phi3-longrope"],
)
def test_other_models_do_not_wait_either(sim, running, model_type, changes) -> None:
    driver, sequences = running(3, _EVERYTHING, model_type, **changes)
    with sim.watch() as seen:
        driver.runner.decode(_rows(sequences))
    assert not seen.waits, seen.waits
    assert seen.host_to_device.count == 2, seen.copies


@pytest.mark.parametrize("model_type", ["bert", "roberta", "llama"])
def test_a_pass_of_embedding_waits_for_its_vectors_only(
    sim, encoder_path, tiny_model, on_sim, prompts, model_type
) -> None:
    path = tiny_model("llama").path if model_type == "llama" else encoder_path(model_type)
    embedder = open_embedder(on_sim(path), EmbedderConfig())
    embedder.embed(prompts([5]), normalize=True)
    for lengths in ([5, 3], [9, 9, 4, 2, 7, 1, 30]):
        with sim.watch() as seen:
            embedder.embed(prompts(lengths), normalize=True)
        assert [copy.operator for copy in seen.waits] == ["copy_to_host"], seen.waits
        assert seen.host_to_device.count <= 4, seen.copies
