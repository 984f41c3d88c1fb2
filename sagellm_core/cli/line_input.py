"""What a person types in ``sagellm chat``, or what a pipe holds instead."""

from __future__ import annotations

import sys

import click

from .prompt import decode_input

_BLOCK = '"""'


class LineInput:
    """Reads turns of a conversation: a line each, or several that belong together.

    A line that ends in a backslash goes on in the next. A line that begins with three double
    quotes begins a block, up to the line that ends with them.
    """

    def __init__(self) -> None:
        self.interactive = sys.stdin is not None and sys.stdin.isatty()
        self._bytes_read = 0
        if self.interactive:
            _edit_lines()

    def read_turn(self) -> str | None:
        """The next turn; ``None`` at the end of the input.

        :raises InvalidRequestError: a pipe holds something that is not UTF-8.
        :raises KeyboardInterrupt: Ctrl-C, or the leftover of one that ended a block.
        """
        line = self._line(">>> ")
        if line is None:
            return None
        if line.lstrip().startswith(_BLOCK):
            return self._block(line.lstrip().removeprefix(_BLOCK))
        lines = []
        while line is not None and line.endswith("\\"):
            lines.append(line[:-1])
            line = self._line("... ")
        lines.append(line or "")
        return "\n".join(lines)

    def _block(self, first: str) -> str:
        lines = []
        line: str | None = first
        while line is not None:
            if line.rstrip().endswith(_BLOCK):
                lines.append(line.rstrip().removesuffix(_BLOCK))
                break
            lines.append(line)
            line = self._line("... ")
        return "\n".join(lines).strip("\n")

    def _line(self, prompt: str) -> str | None:
        if self.interactive:
            try:
                return input(prompt)
            except EOFError:
                click.echo()
                return None
        if sys.stdin is None:
            return None
        raw = sys.stdin.buffer.readline()
        if not raw:
            return None
        line = decode_input(raw, self._bytes_read)
        self._bytes_read += len(raw)
        return line.removesuffix("\n").removesuffix("\r")


def _edit_lines() -> None:
    """Give ``input`` arrow keys and a history, where Python was built with readline."""
    try:
        import readline
    except ImportError:
        return
    # Pasted text with newlines stays one edit instead of sending each of its lines.
    readline.parse_and_bind("set enable-bracketed-paste on")
