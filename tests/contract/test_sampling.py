from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.contract import InvalidSamplingError, SamplingParams


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_tokens", value) for value in (0, -1, 1e9, True, "5", 1.0, math.nan)),
        *(
            ("temperature", value)
            for value in (math.nan, math.inf, -0.1, "hot", True, None, 10**400)
        ),
        *(("top_p", value) for value in (2, 0, -1, math.nan, True)),
        *(("min_p", value) for value in (-0.1, 1.1)),
        *(("top_k", value) for value in (-2, 1.5, True)),
        *(("repetition_penalty", value) for value in (0, -1, math.inf)),
        *(("presence_penalty", value) for value in (2.1, -2.1, math.nan)),
        ("frequency_penalty", 3),
        *(("seed", value) for value in (-1, 2**63, 1.0, True)),
        *(("logprobs", value) for value in (-1, 21, True)),
        *(("stop", value) for value in ("", [""], [1], 5, {"a"})),
        *(("stop_token_ids", value) for value in ([-1], ["a"], [True], 5)),
        *(
            ("logit_bias", value)
            for value in ([1], {-1: 1}, {"x": 1}, {1: 101}, {1: math.nan}, {1: "a"})
        ),
        ("ignore_eos", 1),
    ],
)
def test_a_bad_value_is_named_with_what_is_wanted(name: str, value: Any) -> None:
    with pytest.raises(InvalidSamplingError) as caught:
        SamplingParams(**{name: value})
    assert caught.value.message.startswith(f"{name}=")
    assert type(value).__name__ in caught.value.message
    assert caught.value.hint.startswith(f"{name} must be ")


def test_a_huge_value_is_not_printed_whole() -> None:
    with pytest.raises(InvalidSamplingError) as caught:
        SamplingParams(stop=[""] * 10_000)  # type: ignore[arg-type]
    assert len(caught.value.message) < 120


def test_lists_become_tuples_and_a_string_becomes_one_stop() -> None:
    params = SamplingParams(stop=["a", "b"], stop_token_ids=[3, 1], logit_bias={"7": 1})  # type: ignore
    assert params.stop == ("a", "b")
    assert params.stop_token_ids == (3, 1)
    assert params.logit_bias == {7: 1.0}
    assert SamplingParams(stop="ab").stop == ("ab",)  # type: ignore[arg-type]


def test_zero_temperature_is_greedy() -> None:
    assert SamplingParams(temperature=0).greedy
    assert not SamplingParams(temperature=0.01).greedy


@given(
    max_tokens=st.none() | st.integers(1, 10**9),
    temperature=st.floats(0, 100),
    top_k=st.integers(0, 10**6),
    top_p=st.floats(0, 1, exclude_min=True),
    min_p=st.floats(0, 1),
    seed=st.none() | st.integers(0, 2**63 - 1),
)
def test_everything_in_range_is_accepted(**values: Any) -> None:
    params = SamplingParams(**values)
    assert all(getattr(params, name) == value for name, value in values.items())


@given(
    st.sampled_from(["max_tokens", "temperature", "top_p", "stop", "logit_bias", "seed"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
    ),
)
def test_anything_else_is_a_typed_error_and_nothing_worse(name: str, value: Any) -> None:
    with contextlib.suppress(InvalidSamplingError):
        SamplingParams(**{name: value})
