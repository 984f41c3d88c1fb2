"""The mock's tokenizer: words it knows, and bytes for the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sagellm_core.contract import TokenizerError

from . import vocabulary
from .vocabulary import ASSISTANT, BYTES, END, FIRST_WORD, ROLES, SPECIAL, SYSTEM, WORD_IDS, WORDS

_KNOWN = {**WORD_IDS, **{text: token for token, text in SPECIAL.items()}}
# An alternation takes its first match, so longest first makes it greedy.
_SPLIT = re.compile("|".join(re.escape(text) for text in sorted(_KNOWN, key=len, reverse=True)))
_TOKEN_BYTES = tuple(bytes([byte]) for byte in range(BYTES)) + tuple(
    text.encode() for text in (*SPECIAL.values(), *WORDS)
)


class MockTokenizer:
    """Lossless for every text: ``decode(encode(text), skip_special_tokens=False) == text``."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return vocabulary.SIZE

    @property
    def has_chat_template(self) -> bool:
        """Always: see :meth:`apply_chat_template`."""
        return True

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of ``text``; nothing is added around it.

        :raises TokenizerError: ``text`` holds half of a surrogate pair, which is no character.
        """
        ids: list[int] = []
        position = 0
        for match in _SPLIT.finditer(text):
            if match.start() > position:
                ids.extend(_bytes_of(text, position, match.start()))
            ids.append(_KNOWN[match.group()])
            position = match.end()
        ids.extend(_bytes_of(text, position, len(text)))
        return ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of ``token_ids``; an unfinished character decodes to U+FFFD.

        :raises TokenizerError: an id is outside the vocabulary.
        """
        parts = []
        for token in token_ids:
            if not 0 <= token < vocabulary.SIZE:
                raise TokenizerError(
                    f"Token id {token} is outside the vocabulary of {vocabulary.SIZE}.",
                    hint="Decode with the tokenizer that encoded.",
                )
            if not (skip_special_tokens and BYTES <= token < FIRST_WORD):
                parts.append(_TOKEN_BYTES[token])
        return b"".join(parts).decode(errors="replace")

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """``<|role|>content<|end|>`` for each message, tools as JSON in a system message.

        :raises TokenizerError: an unknown role, or content that is neither text nor text parts.
        """
        parts = []
        if tools:
            listed = json.dumps(list(tools), ensure_ascii=False, sort_keys=True)
            parts.append(f"{SPECIAL[SYSTEM]}Tools: {listed}{SPECIAL[END]}\n")
        for message in messages:
            role = message.get("role")
            if role not in ROLES:
                raise TokenizerError(
                    f"The chat template knows no role {role!r}.",
                    hint=f"Use one of: {', '.join(ROLES)}.",
                )
            content = _content(message.get("content"))
            parts.append(f"{SPECIAL[ROLES[role]]}{content}{SPECIAL[END]}\n")
        if add_generation_prompt:
            parts.append(SPECIAL[ASSISTANT])
        return "".join(parts)


def _bytes_of(text: str, start: int, end: int) -> bytes:
    try:
        return text[start:end].encode()
    except UnicodeEncodeError as error:
        place = start + error.start
        raise TokenizerError(
            f"The text has half of a surrogate pair, U+{ord(text[place]):04X}, at character "
            f"{place}.",
            hint="Read the text as UTF-8 without surrogate escapes.",
        ) from None


def _content(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, (list, tuple)):
        texts = []
        for part in content:
            if isinstance(part, Mapping) and isinstance(part.get("text"), str):
                texts.append(part["text"])
            elif isinstance(part, str):
                texts.append(part)
            else:
                break
        else:
            return "".join(texts)
    raise TokenizerError(
        f"A message's content is a {type(content).__name__} that holds more than text.",
        hint="Use a string, or a list of {'type': 'text', 'text': ...}.",
    )
