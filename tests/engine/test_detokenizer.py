from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.engine.detokenizer import Detokenizer


def decode_bytes(token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
    """Byte-level: an unfinished character is one U+FFFD, ids from 256 on are silent."""
    return bytes(token for token in token_ids if token < 256).decode(errors="replace")


PIECES = ["▁the", "▁", "▁cat", "s", "<0xF0>", "<0x9F>", "<0x99>", "<0x82>", "\n", "▁a", "</s>"]


def decode_pieces(token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
    """As sentencepiece with byte fallback: the first space is dropped, and a run of bytes that
    is not UTF-8 as a whole is one U+FFFD for each byte."""
    text, run = "", b""
    for token in [*token_ids, None]:
        piece = PIECES[token] if token is not None else "</s>"
        if piece.startswith("<0x"):
            run += bytes([int(piece[3:5], 16)])
            continue
        try:
            text += run.decode()
        except UnicodeDecodeError:
            text += "\ufffd" * len(run)
        run = b""
        text += "" if piece == "</s>" else piece.replace("▁", " ")
    return text[1:] if text.startswith(" ") else text


def stream(decode: Any, tokens: Sequence[int]) -> list[str]:
    detokenizer = Detokenizer(decode)
    return [detokenizer.push(token) for token in tokens] + [detokenizer.flush(cut=False)]


@given(st.text(max_size=80))
def test_the_pieces_make_up_the_text(text: str) -> None:
    tokens = list(text.encode())
    assert "".join(stream(decode_bytes, tokens)) == text == decode_bytes(tokens)


@given(st.text(alphabet="a\ufffd😀é", max_size=120))
def test_a_replacement_character_that_the_model_means_is_kept(text: str) -> None:
    assert "".join(stream(decode_bytes, list(text.encode()))) == text


@given(st.text(alphabet="a 😀é漢", max_size=60))
def test_there_is_never_half_a_character(text: str) -> None:
    for piece in stream(decode_bytes, list(text.encode())):
        assert "\ufffd" not in piece


@given(st.text(alphabet="a 😀é漢", max_size=30), st.integers(1, 120))
def test_half_a_character_is_dropped_where_the_output_is_cut(text: str, count: int) -> None:
    tokens = list(text.encode())[:count]
    detokenizer = Detokenizer(decode_bytes)
    said = "".join(map(detokenizer.push, tokens)) + detokenizer.flush(cut=True)
    assert said == bytes(tokens).decode(errors="ignore")


def test_what_the_model_ended_with_is_told_as_it_is() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert detokenizer.push(0xF0) == ""
    assert detokenizer.flush(cut=False) == "\ufffd"


SENTENCE = [0, 2, 3, 0, 9, 2, 1, 1, 0]
EMOJI = [4, 5, 6, 7]


@pytest.mark.parametrize(
    "tokens",
    [
        SENTENCE * 8,
        [0, *EMOJI, *EMOJI, *EMOJI, 2] * 6,
        [8] * 400 + [0, 2],
        [10] * 400 + SENTENCE,
        [0, *[10] * 40, 2, 0],
        [10, 0, 10, 10, 2] * 20,
        [1] * 300 + [0],
    ],
    ids=["words", "emoji runs", "newlines", "silent", "silent gap", "between", "spaces"],
)
def test_spaces_between_words_survive_the_window(tokens: list[int]) -> None:
    assert "".join(stream(decode_pieces, tokens)) == decode_pieces(tokens)


@given(
    st.lists(st.sampled_from([[0], [1], [2], [3], [8], [9], [10], EMOJI, EMOJI * 2]), max_size=60)
)
def test_any_whole_pieces_make_up_the_text(parts: list[list[int]]) -> None:
    tokens = [token for part in parts for token in part]
    assert "".join(stream(decode_pieces, tokens)) == decode_pieces(tokens)


def test_text_comes_at_once_when_it_is_certain() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert [detokenizer.push(byte) for byte in "aé😀b".encode()] == [
        *("a", "", "é", "", "", "", "😀", "b")
    ]


def test_broken_bytes_do_not_withhold_the_text_for_ever() -> None:
    detokenizer = Detokenizer(decode_bytes)
    said = "".join(detokenizer.push(0x80) for _ in range(1000))
    assert len(said) > 600
    assert set(said) == {"\ufffd"}


def counting(decode: Callable[..., str]) -> tuple[Callable[..., str], list[int]]:
    sizes: list[int] = []

    def decode_and_count(token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        sizes.append(len(token_ids))
        return decode(token_ids)

    return decode_and_count, sizes


@pytest.mark.parametrize("tokens", [[97] * 2000, [0x80] * 2000, [256] * 2000])
def test_the_work_for_a_token_does_not_grow_with_the_output(tokens: list[int]) -> None:
    decode, sizes = counting(decode_bytes)
    stream(decode, tokens)
    assert max(sizes) <= 300
