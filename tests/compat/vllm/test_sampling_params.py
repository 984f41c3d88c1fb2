"""vLLM's sampling parameters: names, defaults, ranges, and what each does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.compat.vllm import LLM, SamplingParams
from sagellm_core.contract import InvalidSamplingError, UnsupportedOptionError

MakeLLM = Callable[..., LLM]


def answer(llm: LLM, prompt: str = "Ask", **params: Any) -> Any:
    params.setdefault("temperature", 0)
    (output,) = llm.generate(prompt, SamplingParams(**params))
    return output.outputs[0]


def test_the_defaults_are_vllms() -> None:
    params = SamplingParams()
    assert params.n == 1
    assert params.temperature == params.top_p == params.repetition_penalty == 1.0
    assert params.top_k == params.min_p == params.min_tokens == 0
    assert params.presence_penalty == params.frequency_penalty == 0.0
    assert params.max_tokens == 16
    assert params.seed is params.stop is params.stop_token_ids is params.logprobs is None
    assert params.detokenize
    assert params.skip_special_tokens
    assert not params.ignore_eos
    assert not params.include_stop_str_in_output


@pytest.mark.parametrize(
    "values",
    [
        {"n": 0},
        {"n": 1.0},
        {"n": 2, "temperature": 0},
        {"best_of": 1, "n": 2},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_k": -2},
        {"top_k": 1.5},
        {"min_p": 2},
        {"presence_penalty": 3},
        {"repetition_penalty": 0},
        {"max_tokens": 0},
        {"min_tokens": -1},
        {"min_tokens": 5, "max_tokens": 4},
        {"stop": [""]},
        {"stop": "x", "detokenize": False},
        {"stop_token_ids": ["x"]},
        {"logprobs": 21},
        {"seed": 1.5},
        {"logit_bias": {"a": 1}},
        {"truncate_prompt_tokens": 0},
    ],
)
def test_a_value_out_of_range_is_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))) as caught:
        SamplingParams(**values)
    assert isinstance(caught.value, InvalidSamplingError) or "detokenize" in values


@pytest.mark.parametrize(
    "values",
    [
        {"best_of": 3, "n": 2},
        {"prompt_logprobs": 0},
        {"logprobs": -1},
        {"min_tokens": 3},
        {"structured_outputs": object()},
        {"guided_decoding": object()},
        {"logits_processors": [print]},
        {"allowed_token_ids": [1]},
        {"bad_words": ["no"]},
        {"use_beam_search": True},
        {"thinking_token_budget": 5},
        {"flat_logprobs": True},
        {"logprob_token_ids": [1]},
    ],
)
def test_what_would_change_answers_and_is_not_offered_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedOptionError, match=next(iter(values))) as caught:
        SamplingParams(**values)
    assert caught.value.hint


def test_neutral_values_of_refused_parameters_pass() -> None:
    SamplingParams(
        best_of=1, bad_words=[], logits_processors=[], structured_outputs=None, length_penalty=1.0
    )


def test_a_field_that_was_assigned_to_is_checked_by_the_call(mock_llm: MakeLLM) -> None:
    llm = mock_llm()
    params = SamplingParams()
    params.max_tokens = 3
    params.ignore_eos = True
    assert len(llm.generate("Hi", params)[0].outputs[0].token_ids) == 3
    params.top_p = 7
    with pytest.raises(InvalidSamplingError, match="top_p"):
        llm.generate("Hi", params)
    params.top_p = 1.0
    params.bad_words = ["no"]
    with pytest.raises(UnsupportedOptionError, match="bad_words"):
        llm.generate("Hi", params)


def test_minus_one_and_zero_keep_all_tokens_and_low_temperatures_are_vllms() -> None:
    def core(**values: Any) -> Any:
        return SamplingParams(**values).for_engine(seed=1, max_tokens=None)

    assert core(top_k=-1).top_k == core(top_k=0).top_k == 0
    assert core(temperature=1e-6).greedy
    assert core(temperature=1e-4).temperature == 0.01
    assert core(temperature=0.5).temperature == 0.5


def test_parameters_without_effect_are_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sagellm"):
        params = SamplingParams(spaces_between_special_tokens=False, extra_args={"a": 1})
        params.check()
        SamplingParams()
    assert [record.getMessage() for record in caplog.records] == [
        "SamplingParams: spaces_between_special_tokens, extra_args: no effect on answers here"
    ]


def test_copies_and_optional_values() -> None:
    params = SamplingParams(stop=["a"], logit_bias={1: 2.0})
    copy = params.clone()
    assert copy == params
    assert copy.stop is not params.stop
    made = SamplingParams.from_optional(
        temperature=None, n=None, max_tokens=None, logit_bias={5: 400.0}
    )
    assert (made.temperature, made.n, made.max_tokens) == (1.0, 1, None)
    assert made.logit_bias == {5: 100.0}


def test_stop_strings_are_left_out_or_kept(mock_llm: MakeLLM) -> None:
    llm = mock_llm({"Ask": "one two three four"})
    plain = answer(llm, stop="three")
    assert (plain.text, plain.finish_reason, plain.stop_reason) == ("one two ", "stop", "three")
    kept = answer(llm, stop=["four", "three"], include_stop_str_in_output=True)
    assert (kept.text, kept.stop_reason) == ("one two three", "three")
    assert kept.token_ids == plain.token_ids


def test_a_stop_token_is_left_out_of_the_text_unless_it_is_asked_for(mock_llm: MakeLLM) -> None:
    llm = mock_llm({"Ask": "one two three four"})
    whole = answer(llm)
    token = whole.token_ids[2]
    shown = llm.get_tokenizer().decode(whole.token_ids[:3])
    left_out = answer(llm, stop_token_ids=[token])
    assert left_out.token_ids == whole.token_ids[:3]
    assert (left_out.finish_reason, left_out.stop_reason) == ("stop", token)
    assert left_out.text == llm.get_tokenizer().decode(whole.token_ids[:2])
    kept = answer(llm, stop_token_ids=[token], include_stop_str_in_output=True)
    assert kept.text == shown


def test_special_tokens_are_shown_when_asked_for(mock_llm: MakeLLM) -> None:
    llm = mock_llm({"Ask": "one two"})
    plain = answer(llm)
    end = plain.token_ids[-1]
    spelled = llm.get_tokenizer().decode([end])
    assert spelled
    assert plain.text == "one two"
    assert answer(llm, skip_special_tokens=False).text == "one two"
    both = answer(llm, skip_special_tokens=False, include_stop_str_in_output=True)
    assert both.text == "one two" + spelled
    assert both.stop_reason is None


def test_a_stop_string_may_be_a_special_tokens_text_when_that_is_shown(smollm2: str) -> None:
    with LLM(model=smollm2, backend_type="cpu") as llm:
        rest: dict[str, Any] = {"prompt": "The future of AI is", "ignore_eos": True}
        past = answer(llm, skip_special_tokens=False, max_tokens=48, **rest)
        before, end, after = past.text.partition("<|im_end|>")
        assert end
        assert after
        found = answer(llm, skip_special_tokens=False, max_tokens=48, stop="<|im_end|>", **rest)
        assert (found.text, found.finish_reason, found.stop_reason) == (before, "stop", end)
        assert found.token_ids == past.token_ids[: len(found.token_ids)]
        assert llm.get_tokenizer().decode(found.token_ids) == before + end
        # Where it is not shown it is not found, as in vLLM.
        hidden = answer(llm, max_tokens=48, stop="<|im_end|>", **rest)
        assert hidden.finish_reason == "length"
        assert end not in hidden.text


def test_stop_strings_stop_at_the_same_token_with_special_tokens_shown(mock_llm: MakeLLM) -> None:
    llm = mock_llm({"Ask": "one two three four"})
    engine = answer(llm, stop="three", logprobs=1)
    here = answer(llm, stop="three", logprobs=1, skip_special_tokens=False)
    assert (here.text, here.token_ids, here.stop_reason) == (
        engine.text,
        engine.token_ids,
        engine.stop_reason,
    )
    assert here.logprobs == engine.logprobs
    assert here.cumulative_logprob == engine.cumulative_logprob


def test_without_detokenizing_there_are_tokens_and_no_text(mock_llm: MakeLLM) -> None:
    llm = mock_llm({"Ask": "one two"})
    got = answer(llm, detokenize=False)
    assert got.text == ""
    assert got.token_ids == answer(llm).token_ids


def test_min_tokens_is_taken_where_nothing_ends_an_answer(mock_llm: MakeLLM) -> None:
    got = answer(mock_llm(), min_tokens=9, max_tokens=9, ignore_eos=True)
    assert len(got.token_ids) == 9


def test_logprobs_are_a_dict_for_each_token(mock_llm: MakeLLM) -> None:
    llm = mock_llm()
    got = answer(llm, logprobs=3, max_tokens=5, ignore_eos=True)
    assert len(got.logprobs) == 5
    for token, entry in zip(got.token_ids, got.logprobs, strict=True):
        assert next(iter(entry)) == token
        assert 3 <= len(entry) <= 4
        assert entry[token].decoded_token == llm.get_tokenizer().decode([token])
        ranks = [value.rank for value in entry.values() if value.rank is not None]
        assert sorted(ranks) == [1, 2, 3]
    chosen = [entry[t].logprob for t, entry in zip(got.token_ids, got.logprobs, strict=True)]
    assert got.cumulative_logprob == pytest.approx(sum(chosen))


def test_logit_bias_and_penalties_reach_the_engine() -> None:
    values = {
        "logit_bias": {3: 5.0},
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "repetition_penalty": 1.2,
        "min_p": 0.1,
        "top_p": 0.9,
        "top_k": 7,
        "ignore_eos": True,
        "stop": ("x",),
        "stop_token_ids": (4,),
        "logprobs": 2,
        "temperature": 0.3,
    }
    params = SamplingParams(**values | {"stop": "x", "stop_token_ids": [4]})
    core = params.for_engine(seed=11, max_tokens=8)
    assert {name: getattr(core, name) for name in values} == values
    assert (core.seed, core.max_tokens) == (11, 8)


_JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers()),
)


@given(st.dictionaries(st.sampled_from([f.name for f in fields(SamplingParams)][:-1]), _JUNK))
def test_no_value_of_any_parameter_ends_in_an_untyped_error(values: dict[str, Any]) -> None:
    with suppress(InvalidSamplingError, UnsupportedOptionError):
        SamplingParams(**values)
