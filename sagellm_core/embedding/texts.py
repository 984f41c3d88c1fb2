"""What a call is given to embed, checked before anything is computed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Set
from typing import Any

from sagellm_core.contract import EmptyPromptError, InvalidRequestError


def read_texts(given: Any) -> list[str]:
    """The texts of a call, in order; one string is a list of one.

    :raises EmptyPromptError: a text is empty or only white space; its index is named.
    :raises InvalidRequestError: something is no text, no Unicode, or in no order.
    """
    if isinstance(given, str):
        given = [given]
    try:
        if isinstance(given, (bytes, bytearray, memoryview, Mapping, Set)):
            raise TypeError
        texts = iter(given)
    except TypeError:
        raise InvalidRequestError(
            f"Texts to embed are a string or a list of strings, not {_named(given)}.",
            hint="Pass the texts in a list.",
        ) from None
    return [_text(index, each) for index, each in enumerate(texts)]


def find_prompt(prompts: Mapping[str, str], name: str | None) -> str:
    """The text to put before every input.

    :param name: ``None`` is the prompt named ``""``, where there is one.
    :raises InvalidRequestError: the model has no prompt of that name.
    """
    if name is None:
        return prompts.get("", "")
    if name in prompts:
        return prompts[name]
    near = difflib.get_close_matches(name, prompts, n=1)
    known = ", ".join(repr(each) for each in sorted(prompts)) or "none"
    raise InvalidRequestError(
        f"The model has no prompt named {name!r}.",
        hint=f"Did you mean {near[0]!r}?" if near else f"Its prompts are: {known}.",
    )


def _text(index: int, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(
            f"Text {index} is {_named(value)}, not a string.",
            hint="Embed strings; decode bytes, and leave out what is missing.",
        )
    # Whatever a subclass makes of str(), its characters are what counts.
    text = str.__str__(value)
    if not text or text.isspace():
        raise EmptyPromptError(
            f"Text {index} is {'only white space' if text else 'empty'}.",
            hint="Leave it out: it has no meaning to embed.",
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequestError(
                f"Text {index} has half of a surrogate pair, U+{ord(text[error.start]):04X}, at "
                f"character {error.start}.",
                hint="Read the text as UTF-8 without surrogate escapes.",
            ) from None
    return text


def _named(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
