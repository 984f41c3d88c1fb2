"""Windows and batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.embedding.planning import (
    WINDOW_CHARACTERS,
    WINDOW_TEXTS,
    batches,
    windows,
)

lengths_of_texts = st.lists(st.integers(1, 500), max_size=200)


@given(lengths_of_texts, st.integers(1, 40), st.integers(1, 2000))
def test_batches_hold_everything_once_within_the_limits(
    lengths: list[int], max_rows: int, max_tokens: int
) -> None:
    found = list(batches(lengths, max_rows, max_tokens))
    order = [position for batch in found for position in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[position] for position in order] == sorted(lengths, reverse=True)
    for batch in found:
        assert 1 <= len(batch) <= max_rows
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= max_tokens
    # None could have taken in the next text.
    for batch in found[:-1]:
        assert len(batch) == max_rows or (len(batch) + 1) * lengths[batch[0]] > max_tokens


def test_windows_are_bounded_by_texts_and_by_characters() -> None:
    assert list(windows([])) == []
    assert list(windows(["a", "ccc", "bb"])) == [[1, 2, 0]]
    many = list(windows(["a"] * (WINDOW_TEXTS + 1)))
    assert [len(window) for window in many] == [WINDOW_TEXTS, 1]
    long = "x" * (WINDOW_CHARACTERS - 1)
    assert list(windows([long, "ab", "a", long, long + "xxx"])) == [[4], [0], [3], [1, 2]]
