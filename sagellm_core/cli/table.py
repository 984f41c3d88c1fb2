"""Columns of text."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

_GAP = "  "
#: A last column narrower than this is not worth reading; it goes below its row instead.
_NARROWEST = 30
_INDENT = 4


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a bold header; as :func:`print_rows`."""
    if rows:
        print_rows([[click.style(cell, bold=True) for cell in header], *rows])


def printable(text: str) -> str:
    """``text`` with control characters written out, so that a row is one and no terminal obeys."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equally many cells, each column as wide as its widest cell.

    The last column may be long: on a terminal its cells are wrapped between words. Elsewhere
    every row is one line, for grep and awk.
    """
    columns = len(rows[0]) - 1
    widths = [max(_width(row[column]) for row in rows) for column in range(columns)]
    starts = sum(widths) + len(_GAP) * columns
    room = _terminal_width()
    too_long = room is not None and any(starts + _width(row[-1]) > room for row in rows)
    for row in rows:
        cells = [
            cell + " " * (width - _width(cell))
            for cell, width in zip(row[:-1], widths, strict=True)
        ]
        front = "".join(cell + _GAP for cell in cells)
        if room is None or not too_long:
            click.echo((front + row[-1]).rstrip())
        elif room - starts >= _NARROWEST:
            click.echo(front + _wrapped(row[-1], room, starts))
        else:
            click.echo(front.rstrip())
            click.echo(" " * _INDENT + _wrapped(row[-1], room, _INDENT))


def _terminal_width() -> int | None:
    """Columns of the terminal that stdout is; ``None`` where it is none."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    import shutil

    return shutil.get_terminal_size().columns


def _width(cell: str) -> int:
    return len(click.unstyle(cell))


def _wrapped(cell: str, room: int, indent: int) -> str:
    if indent + _width(cell) <= room:
        return cell
    import textwrap

    # Paths and names stay in one piece, however long, so that they can be copied.
    lines = textwrap.wrap(
        cell, max(room - indent, 1), break_long_words=False, break_on_hyphens=False
    )
    return ("\n" + " " * indent).join(lines)
