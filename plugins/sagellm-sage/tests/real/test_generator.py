"""A hundred prompts through SmolLM2, in a pipeline of the real SAGE: none lost, in order."""

from __future__ import annotations

import pytest
from sagellm_sage import SageLLMGenerator

import sagellm_core

_THINGS = """
otter heron beech granite violin harbour lantern meadow compass glacier saffron pottery orchard
falcon tunnel library barley magnet canoe thistle
""".split()  # noqa: SIM905 - a list of words reads better as words
_ASKS = ("What is a {}?", "Where is a {} found?", "Spell {}.", "A riddle: {}.", "Describe a {}.")
PROMPTS = [ask.format(thing) for thing in _THINGS for ask in _ASKS]


@pytest.fixture(scope="module")
def config(smollm2) -> dict:
    return {"backend_type": "cpu", "model_path": smollm2, "max_tokens": 8, "temperature": 0.0}


@pytest.fixture(scope="module")
def expected(real_sage, config) -> list[list[int]]:
    """What core itself answers, each prompt alone."""
    with sagellm_core.SageLLMGenerator(config) as gen:
        return [gen.execute(prompt)["token_ids"] for prompt in PROMPTS]


def _loads(said: dict) -> int:
    # How long loading took is on each answer, to the nanosecond.
    return len({output["timings"]["load_s"] for output in said["outputs"]})


def _report(capsys, sage: str, what: str, said: dict) -> None:
    with capsys.disabled():
        count = len(said["outputs"])
        print(
            f"\n{sage}: {what}: {count} items in {said['seconds']:.1f} s with the model's load "
            f"({count / said['seconds']:.1f} a second, models loaded: {_loads(said)})"
        )


def test_without_a_pipeline(config) -> None:
    with SageLLMGenerator(config) as gen, sagellm_core.SageLLMGenerator(config) as core:
        for prompt in PROMPTS[:3]:
            assert gen.execute(prompt)["token_ids"] == core.execute(prompt)["token_ids"]


def test_a_hundred_prompts(pipeline, sage, config, expected, capsys) -> None:
    items = [{"prompt": prompt, "id": number} for number, prompt in enumerate(PROMPTS)]
    said = pipeline(items, config)
    outputs = said["outputs"]
    assert len(outputs) == 100
    assert [output["context"]["id"] for output in outputs] == list(range(100))
    assert [output["token_ids"] for output in outputs] == expected
    assert all(output["generated"] == output["text"] != "" for output in outputs)
    if "kernel" in sage:
        assert all(output["generate_time"] > 0 for output in outputs)
    _report(capsys, sage, "one operator", said)


def test_parallel_operators_share_one_model(pipeline, sage, config, expected, capsys) -> None:
    items = [{"prompt": prompt, "id": number} for number, prompt in enumerate(PROMPTS)]
    said = pipeline(items, config, parallelism=4)
    outputs = sorted(said["outputs"], key=lambda output: output["context"]["id"])
    assert [output["token_ids"] for output in outputs] == expected
    assert _loads(said) == 1
    _report(capsys, sage, "parallelism=4", said)


def test_items_that_fail_are_records(pipeline, config) -> None:
    items = [{"prompt": prompt, "id": number} for number, prompt in enumerate(PROMPTS[:12])]
    items[3]["prompt"] = ""
    items[7]["options"] = {"temperature": -1}
    outputs = pipeline(items, {**config, "on_error": "record"})["outputs"]
    assert len(outputs) == 12
    errors = {n: output["error"]["code"] for n, output in enumerate(outputs) if "error" in output}
    assert errors == {3: "empty_prompt", 7: "invalid_sampling"}
    assert outputs[3]["input"]["id"] == 3
    assert outputs[7]["context"] == {"id": 7}


def test_a_model_that_is_not_there_is_a_hundred_records(pipeline) -> None:
    config = {"backend_type": "cpu", "model_path": "/no/such/model", "on_error": "record"}
    said = pipeline(PROMPTS, config)
    assert [output["error"]["code"] for output in said["outputs"]] == ["model_not_found"] * 100
    assert [output["input"] for output in said["outputs"]] == PROMPTS
