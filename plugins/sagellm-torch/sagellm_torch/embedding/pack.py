"""Texts of a pass, one after another along ``T``, without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Group:
    """Texts of one length that follow each other."""

    #: Where their tokens begin in the packed tensors.
    first: int
    #: Number of texts, and tokens of each.
    count: int
    length: int

    @property
    def rows(self) -> slice:
        """Their tokens in the packed tensors."""
        return slice(self.first, self.first + self.count * self.length)


@dataclass(frozen=True, slots=True)
class Pack:
    """What goes through the model in one pass."""

    #: Token ids, [T], on the device, and as they were given.
    tokens: torch.Tensor
    token_ids: np.ndarray
    groups: tuple[Group, ...]
    #: Number of tokens of each text, longest first.
    lengths: tuple[int, ...]
    device: torch.device

    def positions(self) -> np.ndarray:
        """Place of each token in its text, [T] from 0."""
        places = [np.tile(np.arange(group.length), group.count) for group in self.groups]
        return np.concatenate(places)

    def first_rows(self) -> np.ndarray:
        """Row of each text's first token."""
        return np.cumsum((0, *self.lengths[:-1]))

    def last_rows(self) -> np.ndarray:
        """Row of each text's last token."""
        return np.cumsum(self.lengths) - 1

    def integers(self, values: np.ndarray) -> torch.Tensor:
        """Integers on the device, without waiting for it."""
        return torch.from_numpy(values.astype(np.int64, copy=False)).to(
            self.device, non_blocking=True
        )


def pack(texts: Sequence[Sequence[int]], device: torch.device) -> Pack:
    """Pack texts that are sorted by length, longest first."""
    lengths = tuple(map(len, texts))
    total = sum(lengths)
    ids = np.fromiter(chain.from_iterable(texts), np.int64, total)
    tokens = torch.from_numpy(ids).to(device, non_blocking=True)
    return Pack(tokens, ids, tuple(_groups(lengths)), lengths, device)


def _groups(lengths: Sequence[int]) -> Iterator[Group]:
    first = start = 0
    for index in range(1, len(lengths) + 1):
        if index == len(lengths) or lengths[index] != lengths[start]:
            yield Group(first, index - start, lengths[start])
            first += (index - start) * lengths[start]
            start = index


def slices(lengths: Sequence[int], budget: int) -> Iterator[slice]:
    """Runs of texts with at most ``budget`` tokens together; a longer text goes alone."""
    start = total = 0
    for index, length in enumerate(lengths):
        if index > start and total + length > budget:
            yield slice(start, index)
            start, total = index, 0
        total += length
    if start < len(lengths):
        yield slice(start, len(lengths))
