"""Texts of known lengths in a model's own tokens."""

from __future__ import annotations

import random
from pathlib import Path


def make_texts(model: Path, *, count: int, shortest: int, longest: int, seed: int) -> list[str]:
    """Random words, each one token to this model; lengths uniform, special tokens included.

    A text of one token has no words, because special tokens are two for most encoders; the
    shortest texts here have one word.
    """
    import tokenizers

    pipeline = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    pipeline.no_truncation()
    pipeline.no_padding()
    rng = random.Random(seed)
    special = pipeline.num_special_tokens_to_add(is_pair=False)
    words = sorted(
        word
        for word in pipeline.get_vocab()
        if word.isascii()
        and word.isalpha()
        and len(word) > 2
        and len(pipeline.encode(word, add_special_tokens=False).ids) == 1
    )
    return [
        " ".join(rng.choices(words, k=max(1, rng.randint(shortest, longest) - special)))
        for _ in range(count)
    ]
