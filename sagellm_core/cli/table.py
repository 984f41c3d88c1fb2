"""Columns of text."""

from __future__ import annotations

from collections.abc import Sequence

import click


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a bold header, each column as wide as its widest cell.

    The last column is not padded, so it may be long.
    """
    if not rows:
        return
    widths = [
        max(len(click.unstyle(row[column])) for row in (header, *rows))
        for column in range(len(header))
    ]
    click.echo(click.style(_line(header, widths), bold=True))
    for row in rows:
        click.echo(_line(row, widths))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell + " " * (width - len(click.unstyle(cell)))
        for cell, width in zip(row[:-1], widths, strict=False)
    ]
    return "  ".join([*cells, row[-1]]).rstrip()
