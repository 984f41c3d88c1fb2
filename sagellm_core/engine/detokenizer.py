"""Token ids to text, one at a time, without broken characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

_REPLACEMENT = "\ufffd"
#: The window may begin anew at the first whole character after so many tokens ...
_MARK = 8
#: ... and does so when it has so many.
_SLIDE = 16
#: A window that could not slide (all its tokens are silent or broken) is cut at this length.
_LONGEST = 256
#: After so many tokens without a whole character the bytes are broken, not unfinished.
_PATIENCE = 64
#: Replacement characters that an unfinished character can decode to: three bytes at most.
_UNFINISHED = 3


class _Decode(Protocol):
    def __call__(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str: ...


class Detokenizer:
    """Decodes a window over the newest tokens and hands out what became certain.

    Tokenizers that drop the space before a text's first word are served by the window: its
    first tokens were handed out before, so what is dropped is never news. A text that ends in
    U+FFFD may be an unfinished character and waits for the next token.

    :param decode: ``Tokenizer.decode``; what it raises passes through.
    """

    __slots__ = ("_decode", "_emitted", "_mark", "_text", "_waited", "_window")

    def __init__(self, decode: _Decode) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._text = ""
        # Characters of the window's text that were handed out.
        self._emitted = 0
        # Where the window may be cut: a place between two whole characters, or 0.
        self._mark = 0
        # Tokens since the text last ended in a whole character.
        self._waited = 0

    def push(self, token_id: int) -> str:
        """The text that ``token_id`` made certain; often empty for part of a character."""
        window = self._window
        window.append(token_id)
        text = self._text = self._decode(window)
        emitted = self._emitted
        if text[-1:] == _REPLACEMENT:
            self._waited += 1
            end = len(text.rstrip(_REPLACEMENT))
            if self._waited > _PATIENCE:
                end = max(end, len(text) - _UNFINISHED)
        else:
            self._waited = 0
            end = len(text)
        delta = ""
        if end > emitted:
            delta = text[emitted:end]
            self._emitted = end
        size = len(window)
        if size >= _MARK and (self._waited == 0 or size >= _LONGEST):
            self._slide(size)
        return delta

    def _slide(self, size: int) -> None:
        if self._mark == 0:
            self._mark = size
        elif size >= _SLIDE:
            window = self._window[self._mark :]
            text = self._decode(window)
            # With an empty text the next token would be taken for the first of the output.
            if not text and size < _LONGEST:
                return
            self._emitted = max(0, len(text) - (len(self._text) - self._emitted))
            self._window = window
            self._text = text
            self._mark = 0

    def flush(self, *, cut: bool) -> str:
        """The text still withheld; no more tokens will come.

        :param cut: the output was cut off (length, cancelled) rather than ended by the model:
            half a character at its end is dropped. Otherwise it is what the model wrote, and
            comes as U+FFFD.
        """
        text = self._text.rstrip(_REPLACEMENT) if cut else self._text
        delta = text[self._emitted :]
        self._emitted = max(self._emitted, len(text))
        return delta
