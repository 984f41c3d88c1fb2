"""Texts to token ids, cut to a length with their special tokens kept."""

from __future__ import annotations

from collections.abc import Sequence

from sagellm_core.contract import ConfigurationError, TokenizedTexts, Tokenizer, TokenizerError
from sagellm_torch.tokenization.tokenizer import FastTokenizer


class TextEncoder:
    """Tokenises for an embedder.

    :param max_length: tokens that a text may have, special tokens included.
    :param cut_front: cut the front of a text that is too long, and not its end.
    :raises ConfigurationError: ``max_length`` leaves no place beside the special tokens.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_length: int, cut_front: bool) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._cut_front = cut_front
        self._before, self._after = 0, 0
        if isinstance(tokenizer, FastTokenizer):
            self._before, self._after = tokenizer.frame()
            if max_length <= self._before + self._after:
                raise ConfigurationError(
                    f"max_length={max_length} leaves no place for text: the model puts "
                    f"{self._before + self._after} special tokens around it.",
                    hint="Ask for more.",
                )

    def encode(self, texts: Sequence[str]) -> TokenizedTexts:
        """Token ids of ``texts``.

        :raises InvalidRequestError: a text is no string, or not Unicode.
        :raises TokenizerError: the model has no tokenizer files.
        """
        if not isinstance(self._tokenizer, FastTokenizer):
            self._tokenizer.encode("")  # says what is missing
            raise TokenizerError("The model has no tokenizer.", hint="Pass token ids.")
        every = self._tokenizer.encode_batch(texts)
        return TokenizedTexts(
            token_ids=[ids if len(ids) <= self._max_length else self._cut(ids) for ids in every],
            lengths=[len(ids) for ids in every],
        )

    def _cut(self, ids: list[int]) -> list[int]:
        start, end = self._before, len(ids) - self._after
        kept = self._max_length - self._before - self._after
        if self._cut_front:
            start = end - kept
        return ids[: self._before] + ids[start : start + kept] + ids[len(ids) - self._after :]
