from __future__ import annotations

from typing import Any

import pytest
from sagellm_mock import plugin

from sagellm_core.contract import (
    ConfigurationError,
    DeviceLostError,
    DeviceOutOfMemoryError,
    EngineClosedError,
    FinishReason,
    LoadOptions,
    ModelDescription,
    ModelFormat,
    PromptTooLongError,
    RunnerError,
    UnsupportedOptionError,
)


def test_an_unknown_option_is_refused_with_the_nearest(load_model: Any) -> None:
    with pytest.raises(ConfigurationError, match="'fail_at_stp'") as caught:
        load_model(fail_at_stp=3)
    assert "'fail_at_step'" in caught.value.hint
    with pytest.raises(ConfigurationError) as caught:
        load_model(zzz=3)
    assert "context_length" in caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttft_s": -1},
        {"ttft_s": "1"},
        {"tpot_s": float("nan")},
        {"tpot_s": True},
        {"fail_at_step": 0},
        {"fail_at_step": 1.5},
        {"fail_with": "surprise"},
        {"fail_with": []},
        {"oom_at_blocks": "3"},
        {"num_blocks": 0},
        {"block_size": -4},
        {"context_length": 1},
        {"embedding_dimension": 0},
        {"script": 5},
    ],
)
def test_wrong_values_are_refused(load_model: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))) as caught:
        load_model(**wrong)
    assert caught.value.hint


def test_quantization_is_not_offered() -> None:
    description = ModelDescription(reference="any", format=ModelFormat.UNRESOLVED)
    with pytest.raises(UnsupportedOptionError, match="int8"):
        plugin.sagellm_load_model(description, LoadOptions(quantization="int8"))


def test_the_context_is_an_option(mock: Any) -> None:
    one = mock(context_length=32)
    assert one.engine.max_model_len == 32
    answer = one.ask("x" * 20, ignore_eos=True)
    assert (len(answer.token_ids), answer.finish_reason) == (12, FinishReason.LENGTH)
    with pytest.raises(PromptTooLongError, match=r"40 tokens.*32 tokens"):
        one.ask("x" * 40)


def test_the_cache_is_an_option(mock: Any) -> None:
    one = mock(num_blocks=5, block_size=3)
    stats = one.engine.stats()
    assert (stats.blocks_total, one.engine.max_model_len) == (5, 15)
    assert len(one.ask("xxxx", ignore_eos=True).token_ids) == 11


@pytest.mark.parametrize("step", [1, 2, 5])
def test_failing_at_a_step(mock: Any, step: int) -> None:
    one = mock(fail_at_step=step)
    with pytest.raises(RunnerError, match=f"call {step}") as caught:
        one.ask("Hello", ignore_eos=True, max_tokens=20)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert one.ask("Hello", max_tokens=3).finish_reason is FinishReason.LENGTH


def test_losing_the_device_at_a_step(mock: Any) -> None:
    one = mock(fail_at_step=3, fail_with="device_lost")
    with pytest.raises(DeviceLostError):
        one.ask("Hello", ignore_eos=True, max_tokens=20)
    with pytest.raises(EngineClosedError):
        one.ask("Hello")


def test_running_out_of_memory_at_a_step(mock: Any) -> None:
    one = mock(fail_at_step=3, fail_with="out_of_memory")
    with pytest.raises(DeviceOutOfMemoryError):
        one.ask("Hello", ignore_eos=True, max_tokens=20)


def test_running_out_of_memory_at_a_block_count(mock: Any) -> None:
    one = mock(oom_at_blocks=8, block_size=4, config={"max_num_seqs": 8})
    prompts = [f"prompt {number}" for number in range(8)]
    settings = {"max_tokens": 12, "ignore_eos": True}
    answers = one.ask_all(prompts, **settings)
    free = mock(config={"max_num_seqs": 8})
    expected = free.ask_all(prompts, **settings)
    assert [a.token_ids for a in answers] == [b.token_ids for b in expected]
    assert one.engine.stats().preemptions > 0
    with pytest.raises(DeviceOutOfMemoryError, match="oom_at_blocks is 8"):
        one.ask("x" * 40)
