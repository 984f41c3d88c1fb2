"""Which texts are computed together: equally long ones, in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

#: Texts and characters that are held as tokens at a time. Larger windows sort better and
#: tokenise more at once; a token id is an object of 36 bytes.
WINDOW_TEXTS = 2048
WINDOW_CHARACTERS = 4_000_000


def windows(texts: Sequence[str]) -> Iterator[list[int]]:
    """Indexes of ``texts``, the longest first, in windows to be tokenised together.

    Sorting over the whole call makes batches of equal lengths; before a text is tokenised, its
    characters are the best guess. Starting with the longest shows at once whether the device's
    memory suffices.
    """
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]), reverse=True)
    window: list[int] = []
    characters = 0
    for index in order:
        size = len(texts[index])
        if window and (len(window) == WINDOW_TEXTS or characters + size > WINDOW_CHARACTERS):
            yield window
            window, characters = [], 0
        window.append(index)
        characters += size
    if window:
        yield window


def batches(lengths: Sequence[int], max_rows: int, max_tokens: int) -> Iterator[list[int]]:
    """Positions in ``lengths``, the longest first, in batches to be computed together.

    :param lengths: tokens of each text.
    :param max_rows: most texts in a batch.
    :param max_tokens: most tokens in a batch, each text taken for as long as the longest in it;
        one text may have more and goes alone.
    """
    order = sorted(range(len(lengths)), key=lambda position: lengths[position], reverse=True)
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        rows = max(1, min(max_rows, max_tokens // max(1, longest)))
        yield order[start : start + rows]
        start += rows
