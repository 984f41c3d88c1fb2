"""The model's tokenizer under the names that scripts know from transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sagellm_core.contract import LoadedModel, TokenizerError, UnsupportedOptionError


class ModelTokenizer:
    """What :meth:`LLM.get_tokenizer` gives: the usual calls, not the whole of transformers."""

    def __init__(self, model: LoadedModel) -> None:
        self._tokenizer = model.tokenizer
        self._eos = model.eos_token_ids

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self._tokenizer.vocab_size

    def __len__(self) -> int:
        return self._tokenizer.vocab_size

    @property
    def eos_token_id(self) -> int:
        """The id that ends an answer.

        :raises UnsupportedOptionError: the model has none, or several.
        """
        if len(self._eos) != 1:
            raise UnsupportedOptionError(
                f"The model has {len(self._eos)} end-of-sequence tokens: {sorted(self._eos)}.",
                hint="They end answers by themselves; there is no need for stop_token_ids.",
            )
        return next(iter(self._eos))

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of ``text``."""
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        """``{"input_ids": ...}`` of one text."""
        return {"input_ids": self.encode(text, add_special_tokens)}

    def decode(self, token_ids: int | Sequence[int], skip_special_tokens: bool = False) -> str:
        """Text of token ids; special tokens are shown unless they are to be skipped."""
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def convert_tokens_to_ids(self, token: str) -> int:
        """The id of a token given by its text.

        :raises TokenizerError: the text is not one token.
        """
        ids = self._tokenizer.encode(token, add_special_tokens=False)
        if len(ids) != 1:
            raise TokenizerError(
                f"{token!r} is {len(ids)} tokens of this model.", hint="Pass the text of one."
            )
        return ids[0]

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
    ) -> str | list[int]:
        """The prompt of a conversation: token ids, or its text with ``tokenize=False``.

        :raises TokenizerError: there is no template, or it refused the messages.
        """
        text = self._tokenizer.apply_chat_template(
            conversation, tools=tools, add_generation_prompt=add_generation_prompt
        )
        return self.encode(text, add_special_tokens=False) if tokenize else text
