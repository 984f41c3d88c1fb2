"""What stands in for a tokenizer that a model does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from sagellm_core.contract import TokenizerError


class MissingTokenizer:
    """Lets a model without tokenizer files be used with token ids alone.

    :param reason: one sentence: what is not there.
    :param hint: one sentence: how to get it.
    """

    def __init__(self, *, vocab_size: int, reason: str, hint: str) -> None:
        self._vocab_size = vocab_size
        self._reason = reason
        self._hint = hint

    @property
    def vocab_size(self) -> int:
        """Number of ids that the model has."""
        return self._vocab_size

    @property
    def has_chat_template(self) -> bool:
        """Never."""
        return False

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Raises :class:`TokenizerError`."""
        self._refuse()

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Raises :class:`TokenizerError`."""
        self._refuse()

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """Raises :class:`TokenizerError`."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise TokenizerError(self._reason, hint=self._hint)
