"""Several answers to one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TypeVar

from sagellm_core.contract import InvalidRequestError, SamplingParams

_T = TypeVar("_T")


def repeated(items: Sequence[_T], n: int) -> list[_T]:
    """Each item ``n`` times, one after the other.

    :raises InvalidRequestError: ``n`` is not an integer of at least 1.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InvalidRequestError(
            f"n={n!r} is not valid.",
            hint="n is the number of answers to each prompt: an integer of at least 1.",
        )
    return [item for item in items for _ in range(n)]


def sample_settings(sampling: SamplingParams, n: int) -> list[SamplingParams]:
    """The settings of ``n`` answers to one prompt.

    With a seed, the first answer keeps it, and so is the one that the prompt gets alone; the
    others draw by seeds made from it (BLAKE2b of seed and number, RFC 7693), the same ones in
    every run. Without a seed the engine draws one for each.
    """
    if sampling.seed is None:
        return [sampling] * n
    return [
        sampling if number == 0 else replace(sampling, seed=_derived(sampling.seed, number))
        for number in range(n)
    ]


def _derived(seed: int, number: int) -> int:
    words = seed.to_bytes(8, "little") + number.to_bytes(8, "little")
    digest = blake2b(words, digest_size=8, person=b"sagellm sample").digest()
    return int.from_bytes(digest, "little") >> 1
