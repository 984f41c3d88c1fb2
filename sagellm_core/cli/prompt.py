"""Where a prompt comes from: the command line or standard input."""

from __future__ import annotations

import sys

import click

from sagellm_core.contract.errors import EmptyPromptError, InvalidRequestError


def read_prompt(argument: str | None) -> str:
    """The prompt of ``-p``, or of standard input where that is ``-`` or not a terminal.

    One newline at the end of standard input is not part of the prompt: ``echo`` adds it.

    :raises click.UsageError: there is no prompt anywhere.
    :raises InvalidRequestError: the prompt is empty, or not valid text. The generator would say
        the former too, but only once the model is loaded.
    """
    if argument is not None and argument != "-":
        text = _checked(argument)
    elif sys.stdin is None or (argument is None and sys.stdin.isatty()):
        raise click.UsageError("No prompt. Add -p TEXT, or pipe it in.")
    else:
        text = decode_input(sys.stdin.buffer.read()).removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise EmptyPromptError("The prompt is empty.", hint="Add -p TEXT, or pipe it in.")
    return text


def decode_input(raw: bytes, at: int = 0) -> str:
    """``raw`` as UTF-8.

    :param at: how many bytes of the input came before, for the message.
    :raises InvalidRequestError: naming the first byte that is not UTF-8.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"Standard input is not UTF-8: byte {at + error.start} is 0x{raw[error.start]:02x}.",
            hint="Convert it first, as in: iconv -f latin1 -t utf-8",
        ) from error


def _checked(text: str) -> str:
    # Bytes of the command line that are not UTF-8 arrive as lone surrogates (PEP 383).
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"The prompt is not UTF-8 (character {error.start}).",
            hint="Check the terminal's encoding (locale).",
        ) from error
    return text
