"""Which token is which: bytes, then special tokens, then words."""

from __future__ import annotations

from . import words

#: Ids 0 to 255 are bytes.
BYTES = 256

SYSTEM, USER, ASSISTANT, TOOL, END = range(BYTES, BYTES + 5)
#: Special tokens as they are written out, by id. ``<|end|>`` ends a message, and an answer.
SPECIAL = {
    SYSTEM: "<|system|>",
    USER: "<|user|>",
    ASSISTANT: "<|assistant|>",
    TOOL: "<|tool|>",
    END: "<|end|>",
}
ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT, "tool": TOOL}

_FIRST_WORD = BYTES + len(SPECIAL)


def _number() -> tuple[tuple[str, ...], dict[str, int]]:
    texts: list[str] = []
    ids: dict[str, int] = {}
    groups = (
        words.OPENERS,
        tuple(f" {word}" for word in words.OPENERS),
        *(
            tuple(f" {word}" for word in group)
            for group in (
                words.DETERMINERS,
                words.ADJECTIVES,
                words.NOUNS,
                words.VERBS,
                words.ADVERBS,
                words.PREPOSITIONS,
            )
        ),
        words.PIECES,
    )
    for group in groups:
        for text in group:
            # Some words stand in two lists ("early"); the first place counts.
            if text not in ids:
                ids[text] = _FIRST_WORD + len(texts)
                texts.append(text)
    return tuple(texts), ids


#: Texts of the word tokens, from id ``FIRST_WORD`` on; and their ids.
WORDS, WORD_IDS = _number()
FIRST_WORD = _FIRST_WORD
SIZE = FIRST_WORD + len(WORDS)


def spaced(group: tuple[str, ...]) -> tuple[int, ...]:
    """Ids of a group's words with a space before them."""
    return tuple(WORD_IDS[f" {word}"] for word in group)


def bare(group: tuple[str, ...]) -> tuple[int, ...]:
    """Ids of a group's words as they stand at the beginning of a text."""
    return tuple(WORD_IDS[word] for word in group)
