"""The embedder: texts to token ids, token ids to vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderConfig:
    """How to embed."""

    #: Longest input in tokens, special tokens included; ``None``: the model's own limit.
    max_length: int | None = None
    #: ``None``: the model's own pooling; or ``mean``, ``last``, ``cls``, ``max``.
    pooling: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedTexts:
    """Texts as an embedder wants them."""

    #: Token ids of each text, special tokens included, at most ``max_length`` of them.
    token_ids: Sequence[Sequence[int]]
    #: How many tokens each text has before it was cut.
    lengths: Sequence[int]


@runtime_checkable
class Embedder(Protocol):
    """Embeds batches of texts. Calls come from one thread at a time."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_length(self) -> int:
        """Longest input in tokens, special tokens included."""
        ...

    @property
    def pooling(self) -> str:
        """How token vectors become one vector: ``mean``, ``last``, ``cls`` or ``max``."""
        ...

    @property
    def normalizes(self) -> bool:
        """Whether the model's own configuration scales vectors to length 1."""
        ...

    @property
    def prompts(self) -> Mapping[str, str]:
        """Texts that the model was trained to see before an input, by name (``query``).

        The one named ``""`` is put before every input that asks for none.
        """
        ...

    def encode(self, texts: Sequence[str]) -> TokenizedTexts:
        """Token ids of ``texts``, in order, cut to :attr:`max_length` with special tokens kept.

        :raises InvalidRequestError: a text is not Unicode.
        :raises TokenizerError: the model has no tokenizer files.
        """
        ...

    def embed(self, batch: Sequence[Sequence[int]], *, normalize: bool) -> Any:
        """Vectors of ``batch`` (lists of token ids, none empty), in its order.

        :param normalize: scale every vector to length 1.
        :returns: float32 of shape [len(batch), dimension], C-contiguous, as an object with
            the buffer protocol: a NumPy array, or a ``memoryview`` cast to that shape.
        :raises PromptTooLongError: an input is longer than :attr:`max_length`.
        """
        ...

    def close(self) -> None:
        """Give the memory back; the model stays loaded. May be called twice."""
        ...
