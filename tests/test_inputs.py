from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.contract import EmptyPromptError, InvalidRequestError
from sagellm_core.inputs import PromptInput, read_input

MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ("Hi", PromptInput("Hi")),
        ({"prompt": "Hi"}, PromptInput("Hi")),
        ({"prompt": "Hi", "options": {"seed": 1}}, PromptInput("Hi", options={"seed": 1})),
        ({"prompt": "Hi", "id": 7}, PromptInput("Hi", context={"id": 7})),
        ({"query": "Hi"}, PromptInput("Hi", context={"query": "Hi"})),
        (
            {"query": "Why?", "prompt": "Docs. Why?"},
            PromptInput("Docs. Why?", context={"query": "Why?"}),
        ),
        (["Hi"], PromptInput("Hi")),
        (("Hi",), PromptInput("Hi")),
        ([{"id": 7}, "Hi"], PromptInput("Hi", context={"id": 7})),
        (["Why?", "Docs. Why?"], PromptInput("Docs. Why?", context="Why?")),
        (
            [7, {"prompt": "Hi", "options": {"seed": 1}}],
            PromptInput("Hi", options={"seed": 1}, context=7),
        ),
        (
            [{"id": 7}, {"prompt": "Hi", "page": 2}],
            PromptInput("Hi", context={"id": 7, "page": 2}),
        ),
        (["q", "Hi", {"seed": 2}], PromptInput("Hi", options={"seed": 2}, context="q")),
        (
            ["q", {"prompt": "Hi", "options": {"seed": 1, "top_k": 3}}, {"seed": 2}],
            PromptInput("Hi", options={"seed": 2, "top_k": 3}, context="q"),
        ),
        (["q", MESSAGES], PromptInput(messages=tuple(MESSAGES), context="q")),
        (MESSAGES, PromptInput(messages=tuple(MESSAGES))),
        ({"messages": MESSAGES}, PromptInput(messages=tuple(MESSAGES))),
        ({"prompt": MESSAGES}, PromptInput(messages=tuple(MESSAGES))),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}],
            PromptInput(messages=({"role": "user", "content": "ab"},)),
        ),
        ({"prompt_token_ids": [1, 2]}, PromptInput(token_ids=(1, 2))),
    ],
)
def test_every_form_that_pipelines_use(data: Any, wanted: PromptInput) -> None:
    assert read_input(data) == wanted


@pytest.mark.parametrize(
    "data",
    [
        "",
        " \n\t",
        {"prompt": ""},
        {"query": " "},
        [""],
        ["q", ""],
        [],
        {"messages": []},
        [{"role": "user", "content": ""}],
        [{"role": "system", "content": "only rules"}],
        {"prompt_token_ids": []},
    ],
)
def test_an_empty_prompt_is_refused(data: Any) -> None:
    with pytest.raises(EmptyPromptError) as caught:
        read_input(data)
    assert caught.value.hint


@pytest.mark.parametrize(
    "data",
    [
        None,
        5,
        b"Hi",
        {},
        {"text": "Hi"},
        {"prompt": 5},
        {"prompt": None},
        {"prompt": "a", "messages": MESSAGES},
        {"prompt": "a", "options": [1]},
        ["a", "b", "c"],
        ["a", "b", {"seed": 1}, "d"],
        ["a", 5],
        ["a", ["b", "c"]],
        {"messages": [{"content": "no role"}]},
        [{"role": "user"}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
        {"prompt_token_ids": ["a"]},
        {"prompt_token_ids": [True]},
        {"prompt_token_ids": [-1]},
    ],
)
def test_what_is_no_prompt_is_refused_with_a_hint(data: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_input(data)
    assert caught.value.hint


def test_lists_of_one_may_lie_in_each_other_but_not_without_end() -> None:
    assert read_input([[["Hi"]]]).text == "Hi"
    within_itself: list[Any] = []
    within_itself.append(within_itself)
    deep: list[Any] = ["Hi"]
    for _ in range(5000):
        deep = [deep]
    for data in (within_itself, deep):
        with pytest.raises(InvalidRequestError, match="deep") as caught:
            read_input(data)
        assert caught.value.hint


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["prompt", "query", "messages", "role", "content", "options", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_input_is_read_or_refused_never_worse(data: Any) -> None:
    with contextlib.suppress(InvalidRequestError):
        prompt = read_input(data)
        given_forms = [prompt.text, prompt.messages, prompt.token_ids]
        assert sum(form is not None for form in given_forms) == 1
