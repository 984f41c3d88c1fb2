"""The tokenizer of a model: a ``tokenizers`` pipeline and, perhaps, a chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sagellm_core.contract import InvalidRequestError, TokenizerError

from .chat_template import ChatTemplate

if TYPE_CHECKING:
    import tokenizers


class FastTokenizer:
    """Implements :class:`sagellm_core.contract.Tokenizer`. Safe to use from several threads.

    :param pipeline: the whole of it: normaliser, pre-tokeniser, model, post-processor, decoder.
    :param vocab_size: how many ids the model has; ``None``: as many as the pipeline knows.
    :param chat_template: ``None`` where the model has none.
    """

    def __init__(
        self,
        pipeline: tokenizers.Tokenizer,
        *,
        vocab_size: int | None,
        chat_template: ChatTemplate | None,
    ) -> None:
        # Saved tokenizers may carry the settings of a training run.
        pipeline.no_truncation()
        pipeline.no_padding()
        self._pipeline = pipeline
        self._vocab_size = vocab_size or _size(pipeline)
        self._chat_template = chat_template

    @property
    def vocab_size(self) -> int:
        """Number of ids that the model has."""
        return self._vocab_size

    @property
    def has_chat_template(self) -> bool:
        """Whether conversations can be rendered."""
        return self._chat_template is not None

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of ``text``.

        :raises InvalidRequestError: the text is not Unicode (it has lone surrogates).
        :raises TokenizerError: a token of it is not one of the model's.
        """
        try:
            ids: list[int] = self._pipeline.encode(text, add_special_tokens=add_special_tokens).ids
        except (TypeError, UnicodeEncodeError) as error:
            raise _not_text(text) from error
        self._check(ids)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included; several at once on all processors.

        :raises InvalidRequestError: a text is no string, or not Unicode.
        :raises TokenizerError: a token of one is not one of the model's.
        """
        for text in texts:
            if not isinstance(text, str):  # a pair would be joined
                raise _not_text(text)
        try:
            encodings = self._pipeline.encode_batch_fast([*texts])
        except (TypeError, UnicodeEncodeError) as error:
            raise next(_not_text(text) for text in texts if not _is_text(text)) from error
        every: list[list[int]] = [encoding.ids for encoding in encodings]
        for ids in every:
            self._check(ids)
        return every

    def frame(self) -> tuple[int, int]:
        """How many special tokens are put before a text, and how many after it."""
        text = "a"
        plain = self.encode(text, add_special_tokens=False)
        framed = self.encode(text)
        added = len(framed) - len(plain)
        before = next((n for n in range(added + 1) if framed[n : n + len(plain)] == plain), added)
        return before, added - before

    def lower_case(self) -> None:
        """Lower the case of texts from now on, where the tokenizer does not do so already."""
        from tokenizers import normalizers

        present = self._pipeline.normalizer
        steps: Any = present if isinstance(present, normalizers.Sequence) else [present]
        if not any(isinstance(step, normalizers.Lowercase) for step in steps):
            self._pipeline.normalizer = normalizers.Sequence(
                [normalizers.Lowercase(), *([present] if present is not None else [])]
            )

    def _check(self, ids: Sequence[int]) -> None:
        if ids and max(ids) >= self._vocab_size:
            foreign = max(ids)
            raise TokenizerError(
                f"The text holds {self._pipeline.id_to_token(foreign)!r}, which is token {foreign} "
                f"to the tokenizer; the model has {self._vocab_size} tokens.",
                hint="Leave that token out, or use the tokenizer that belongs to the model.",
            )

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of ``token_ids``; ids that have no token decode to nothing.

        :raises InvalidRequestError: an id is negative or no integer.
        """
        try:
            text: str = self._pipeline.decode(
                list(token_ids), skip_special_tokens=skip_special_tokens
            )
        except (OverflowError, TypeError) as error:
            raise InvalidRequestError(
                f"Token ids must be integers of at least 0: {error}.", hint="Check the ids."
            ) from error
        return text

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt text of a conversation.

        :raises TokenizerError: no template, or it refused the messages.
        """
        if self._chat_template is None:
            raise TokenizerError(
                "The model has no chat template.",
                hint='Pass a prompt with prompt_format="raw", or add chat_template.jinja.',
            )
        return self._chat_template.render(
            messages, tools=tools, add_generation_prompt=add_generation_prompt
        )


def _not_text(text: object) -> InvalidRequestError:
    if not isinstance(text, str):
        return InvalidRequestError(
            f"Text to tokenise must be a string, not {type(text).__name__}.",
            hint="Pass token ids as prompt_token_ids.",
        )
    position = next(i for i, char in enumerate(text) if "\ud800" <= char <= "\udfff")
    return InvalidRequestError(
        f"The text has a lone surrogate at position {position}, so it is not Unicode.",
        hint="Decode the input with errors='replace'.",
    )


def _is_text(text: object) -> bool:
    return isinstance(text, str) and not any("\ud800" <= char <= "\udfff" for char in text)


def _size(pipeline: tokenizers.Tokenizer) -> int:
    # Ids may have gaps, so the largest counts and not their number.
    return max(pipeline.get_vocab(with_added_tokens=True).values(), default=-1) + 1
