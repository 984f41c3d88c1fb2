"""The text that is predicted, and its windows."""

from __future__ import annotations

import hashlib
from pathlib import Path

#: Where it is from: ``alice.md``.
TEXT = Path(__file__).with_name("alice.txt")
SHA256 = "cc660e04a3bef809b5436e822536cafefa278d55fb3639fb3e93665590d6fc0a"


def read_text(path: Path = TEXT) -> str:
    """The text, byte for byte as it was when its hash was written down.

    :raises ValueError: it has changed; perplexities of another text cannot be compared.
    """
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ValueError(f"{path} has the SHA-256 {found} instead of {SHA256}: check it out again.")
    return content.decode("ascii")


def windows(token_ids: list[int], length: int) -> list[list[int]]:
    """The text cut into windows of ``length`` tokens; what is left at the end is not used.

    :raises ValueError: there are fewer tokens than one window has.
    """
    if length < 2 or len(token_ids) < length:
        raise ValueError(f"{len(token_ids)} tokens do not fill one window of {length}.")
    ends = range(length, len(token_ids) + 1, length)
    return [token_ids[end - length : end] for end in ends]
