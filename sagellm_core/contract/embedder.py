"""The embedder: token ids in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderConfig:
    """How to embed."""

    #: Longest input in tokens; ``None``: the model's own limit.
    max_length: int | None = None
    #: ``None``: the model's own pooling; or ``mean``, ``last``, ``cls``.
    pooling: str | None = None
    #: Scale every vector to length 1. ``None``: as the model's own config says.
    normalize: bool | None = None


@runtime_checkable
class Embedder(Protocol):
    """Embeds batches of token ids."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, batch: Sequence[Sequence[int]]) -> Any:
        """Vectors of ``batch`` (lists of token ids, none empty), in its order.

        :returns: float32 of shape [len(batch), dimension], C-contiguous, as an object with
            the buffer protocol: a NumPy array, or a ``memoryview`` cast to that shape.
        """
        ...

    def close(self) -> None:
        """Give the memory back; the model stays loaded. May be called twice."""
        ...
