"""The tokenizer that a loaded model brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token ids and back. Safe to call from several threads at once."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids; every id is below it."""
        ...

    @property
    def has_chat_template(self) -> bool:
        """Whether :meth:`apply_chat_template` works."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of ``text``. Special tokens written out in ``text`` are recognised.

        :param add_special_tokens: add what the model expects around a plain text (BOS).
            Pass ``False`` for text that a chat template rendered.
        :raises TokenizerError: the model has no tokenizer files.
        """
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of ``token_ids``. An unfinished UTF-8 sequence decodes to U+FFFD.

        :raises TokenizerError: the model has no tokenizer files.
        """
        ...

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt text of a conversation.

        :param messages: each with ``role`` and ``content``, in order.
        :param add_generation_prompt: end where the assistant's answer begins.
        :raises TokenizerError: no template, or the template refused the messages.
        """
        ...
