"""Requests that can never run, or not now."""

from __future__ import annotations

from typing import Any

import pytest

from sagellm_core.contract import (
    ConfigurationError,
    EmptyPromptError,
    FinishReason,
    InvalidRequestError,
    InvalidSamplingError,
    OverloadedError,
    PromptTooLongError,
)
from sagellm_core.engine import LLMEngine


def test_an_empty_prompt_is_refused(harness: Any) -> None:
    with pytest.raises(EmptyPromptError):
        harness().submit("")


@pytest.mark.parametrize("length", [20, 21, 5000])
def test_a_prompt_as_long_as_the_context_is_refused_with_the_numbers(
    harness: Any, fakes: Any, length: int
) -> None:
    one = harness(model=fakes.Model(max_model_len=20))
    with pytest.raises(PromptTooLongError, match=rf"{length} tokens.*20 tokens.*256") as caught:
        one.submit("x" * length)
    assert "19" in caught.value.hint


def test_a_prompt_beyond_the_whole_cache_is_refused_with_the_numbers(harness: Any) -> None:
    one = harness(num_blocks=3, block_size=4)
    assert one.engine.max_model_len == 12
    with pytest.raises(PromptTooLongError, match=r"12 tokens.*256 tokens.*holds 12"):
        one.submit("x" * 12)
    _, events = one.submit("x" * 11, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH


def test_a_cache_that_holds_no_request_is_refused_when_the_engine_opens(fakes: Any) -> None:
    runner = fakes.Runner(num_blocks=1, block_size=1)
    with pytest.raises(ConfigurationError, match="holds 1 token, and the shortest request is 2"):
        LLMEngine(fakes.Model(), runner)
    assert runner.closed == 1


def test_a_cache_for_the_shortest_request(harness: Any) -> None:
    one = harness(num_blocks=2, block_size=1)
    _, events = one.submit("x", max_tokens=2)
    assert events.wait().finish_reason is FinishReason.LENGTH
    assert events.token_ids == one.expected("x", 1)
    with pytest.raises(PromptTooLongError, match=r"at most 1 tokens"):
        one.submit("xy")
    with pytest.raises(InvalidSamplingError, match="max_tokens=5 is more than the 2 tokens of the"):
        one.submit("x", max_tokens=5)


def test_max_tokens_beyond_the_context_is_refused_with_the_numbers(harness: Any) -> None:
    with pytest.raises(
        InvalidSamplingError,
        match="max_tokens=1000000000 is more than the context of 256 tokens",
    ):
        harness().submit(max_tokens=1_000_000_000)


@pytest.mark.parametrize("token", [258, 10**12, -1])
def test_a_token_outside_the_vocabulary_is_refused(harness: Any, token: int) -> None:
    with pytest.raises(InvalidRequestError, match=str(token)):
        harness().submit([1, token, 2])


@pytest.mark.parametrize("token", ["a", 1.5, None])
def test_a_token_that_is_no_integer_is_refused(harness: Any, token: Any) -> None:
    with pytest.raises(InvalidRequestError, match="not all integers"):
        harness().submit([1, token])


def test_a_bias_outside_the_vocabulary_is_refused(harness: Any) -> None:
    with pytest.raises(InvalidSamplingError, match="258"):
        harness().submit(logit_bias={258: 1.0})


def test_an_id_in_use_is_refused_and_free_again_afterwards(harness: Any, gate: Any) -> None:
    one = harness()
    one.runner.before = gate
    _, events = one.submit(request_id="same", max_tokens=1)
    with pytest.raises(InvalidRequestError, match="'same'"):
        one.submit(request_id="same")
    gate.open()
    events.wait()
    one.submit(request_id="same", max_tokens=1)[1].wait()


@pytest.mark.parametrize("wrong", [{"request_id": ""}, {"priority": True}, {"priority": 1.5}])
def test_wrong_fields_are_refused(harness: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        harness().submit(**wrong)


def test_a_full_queue_refuses_and_takes_requests_again_later(harness: Any, gate: Any) -> None:
    one = harness(max_slots=1, max_waiting=2)
    one.runner.before = gate
    waiting = [one.submit(max_tokens=2)[1] for _ in range(3)]
    with pytest.raises(OverloadedError, match="limit is 2") as caught:
        one.submit()
    assert caught.value.retryable
    gate.open()
    for events in waiting:
        events.wait()
    one.submit(max_tokens=1)[1].wait()


def test_a_model_without_a_tokenizer_generates_ids(harness: Any, fakes: Any) -> None:
    one = harness(model=fakes.Model(fakes.NoTokenizer()))
    _, events = one.submit(max_tokens=5, ignore_eos=True)
    events.wait()
    assert events.token_ids == one.expected("hello", 5, ignore_eos=True)
    assert events.text == ""


def test_stop_strings_without_a_tokenizer_are_refused(harness: Any, fakes: Any) -> None:
    one = harness(model=fakes.Model(fakes.NoTokenizer()))
    with pytest.raises(InvalidRequestError, match="tokenizer"):
        one.submit(stop="x")
