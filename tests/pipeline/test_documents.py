from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.contract import ConfigurationError
from sagellm_core.pipeline.documents import cut, read_chunks

TEXTS = st.text(alphabet=st.sampled_from("ab \n\té中文"), max_size=300)


@given(text=TEXTS, size=st.integers(1, 40), data=st.data())
def test_pieces_hold_all_words_in_order_and_none_is_too_long(
    text: str, size: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    pieces = list(cut(text, size, overlap))
    assert all(0 < len(piece) <= size and piece == piece.strip() for piece in pieces)
    at = 0  # every piece is in the text, each beginning after the one before
    for piece in pieces:
        at = text.index(piece, at)
    if overlap == 0:
        assert "".join("".join(pieces).split()) == "".join(text.split())


@given(text=TEXTS, size=st.integers(2, 40), data=st.data())
def test_no_word_is_lost_by_overlapping(text: str, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    joined = "".join(cut(text, size, overlap))
    assert set(joined) >= {letter for letter in text if not letter.isspace()}


def test_words_stay_whole_and_neighbours_overlap() -> None:
    text = "one two three four five six seven eight nine ten"
    pieces = list(cut(text, 20, 6))
    assert pieces[0] == "one two three four"
    assert all(set(piece.split()) <= set(text.split()) for piece in pieces)
    assert pieces[1].split()[0] in pieces[0].split()


def test_directories_are_read_by_name_and_other_files_left_alone(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "a.MD").write_text("first")
    (tmp_path / "c.pdf").write_bytes(b"%PDF")
    assert [(c.text, c.source) for c in read_chunks(tmp_path)] == [
        ("first", "A/a.MD"),
        ("second", "b.txt"),
    ]
    assert [c.source for c in read_chunks(tmp_path / "b.txt")] == ["b.txt"]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (5, 5), (5, -1)])
def test_impossible_chunks(tmp_path: Path, size: int, overlap: int) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ConfigurationError, match="cannot overlap"):
        read_chunks(tmp_path, size, overlap)


def test_bad_documents(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no documents"):
        read_chunks(tmp_path / "none")
    with pytest.raises(ConfigurationError, match=r"No \.md or \.txt"):
        read_chunks(tmp_path)
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(ConfigurationError, match="have no text"):
        read_chunks(tmp_path)
    (tmp_path / "b.txt").write_bytes("保修".encode("gb18030"))
    with pytest.raises(ConfigurationError, match=r"b\.txt is not UTF-8") as caught:
        read_chunks(tmp_path)
    assert "iconv" in caught.value.hint
