"""What is no prompt and no conversation is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.compat.vllm import LLM
from sagellm_core.compat.vllm.inputs import read_conversations, read_prompts
from sagellm_core.contract import InvalidRequestError, SageLLMError, UnsupportedOptionError


@pytest.mark.parametrize(
    "prompts",
    [
        None,
        3,
        b"x",
        [None],
        [{"prompt": 1}],
        [{}],
        [[]],
        [["a"]],
        ["a", ""],
        ["a\ud800"],
        [{"prompt_token_ids": [-1]}],
        [{"prompt_token_ids": [10**9]}],
        [{"prompt": "x", "multi_modal_data": {"image": 1}}],
        [{"prompt_embeds": object()}],
        {"encoder_prompt": "a", "decoder_prompt": "b"},
    ],
)
def test_what_is_no_prompt_is_refused(mock_llm: Callable[..., LLM], prompts: Any) -> None:
    with pytest.raises(SageLLMError) as caught:
        mock_llm().generate(prompts)
    assert caught.value.hint


@pytest.mark.parametrize(
    "messages",
    [
        None,
        "Hello",
        [],
        [[]],
        [{"role": "user"}],
        [{"content": "Hello"}],
        [[{"role": "user", "content": "Hello"}], "Hello"],
        [{"role": "nobody", "content": "Hello"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
    ],
)
def test_what_is_no_conversation_is_refused(mock_llm: Callable[..., LLM], messages: Any) -> None:
    with pytest.raises(SageLLMError) as caught:
        mock_llm().chat(messages)
    assert caught.value.hint


def test_prompts_and_their_token_ids_must_be_as_many() -> None:
    with pytest.raises(InvalidRequestError, match="2 prompts and 1"):
        read_prompts(["a", "b"], [[1]])
    with pytest.raises(InvalidRequestError, match="prompt_token_ids is of type int"):
        read_prompts(None, 3)
    (one,) = read_prompts("a", [1, 2])
    assert (one.text, one.token_ids) == ("a", (1, 2))


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["prompt", "prompt_token_ids", "role", "content", "type", "x"]), inner
        )
    ),
    max_leaves=8,
)


@given(_ANY)
def test_anything_is_read_or_refused_with_a_typed_error(value: Any) -> None:
    for read in (read_prompts, read_conversations):
        try:
            found = read(value)
        except (InvalidRequestError, UnsupportedOptionError):
            continue
        assert isinstance(found, list)


@given(_ANY, _ANY)
def test_token_ids_beside_prompts_are_read_or_refused(prompts: Any, token_ids: Any) -> None:
    try:
        read = read_prompts(prompts, token_ids)
    except (InvalidRequestError, UnsupportedOptionError):
        return
    assert all(prompt.text is not None or prompt.token_ids for prompt in read)
