from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagellm_mock import vocabulary
from sagellm_mock.tokenizer import MockTokenizer

from sagellm_core.contract import Tokenizer, TokenizerError

TOKENIZER = MockTokenizer()
PARTS = st.sampled_from(
    [" the", "The", " river", "<|end|>", "<|user|>", "é", "😀", " ", "\n\n", "ing", "x", "漢字"]
)


def test_it_is_a_tokenizer() -> None:
    assert isinstance(TOKENIZER, Tokenizer)


@given(st.one_of(st.text(), st.lists(PARTS).map("".join)))
def test_every_text_comes_back(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert all(0 <= token < TOKENIZER.vocab_size for token in ids)
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == text


@given(st.lists(st.integers(0, vocabulary.SIZE - 1)))
def test_any_ids_decode(ids: list[int]) -> None:
    assert isinstance(TOKENIZER.decode(ids), str)


def test_words_are_one_token_and_rare_characters_several() -> None:
    assert len(TOKENIZER.encode("The river follows the quiet road.")) == 7
    assert len(TOKENIZER.encode("😀")) == 4
    assert TOKENIZER.decode(TOKENIZER.encode("😀")[:3]) == "\ufffd"


def test_special_tokens_are_recognised_and_skipped() -> None:
    ids = TOKENIZER.encode("<|user|>hi<|end|>")
    assert (ids[0], ids[-1]) == (vocabulary.USER, vocabulary.END)
    assert TOKENIZER.decode(ids) == "hi"


def test_the_vocabulary_has_no_token_twice() -> None:
    assert len(set(vocabulary.WORDS)) == len(vocabulary.WORDS)
    assert 256 + 5 + len(vocabulary.WORDS) == vocabulary.SIZE


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(TokenizerError, match=r"U\+D83D.*character 3"):
        TOKENIZER.encode("abc\ud83d")


@pytest.mark.parametrize("token", [-1, vocabulary.SIZE])
def test_an_unknown_id_is_refused(token: int) -> None:
    with pytest.raises(TokenizerError, match=str(token)):
        TOKENIZER.decode([token])


def test_the_chat_template() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None},
    ]
    assert TOKENIZER.has_chat_template
    assert TOKENIZER.apply_chat_template(messages) == (
        "<|system|>Be brief.<|end|>\n<|user|>Hi<|end|>\n<|assistant|><|end|>\n<|assistant|>"
    )
    assert TOKENIZER.apply_chat_template(messages, add_generation_prompt=False).endswith(
        "<|end|>\n"
    )
    assert '"name": "add"' in TOKENIZER.apply_chat_template(messages, tools=[{"name": "add"}])


@pytest.mark.parametrize(
    "message",
    [
        {"role": "king", "content": "x"},
        {"content": "x"},
        {"role": "user", "content": 5},
        {"role": "user", "content": [{"type": "image"}]},
    ],
)
def test_what_the_template_cannot_render_is_refused(message: dict[str, object]) -> None:
    with pytest.raises(TokenizerError):
        TOKENIZER.apply_chat_template([message])
