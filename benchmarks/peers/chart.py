"""A comparison with peers as a picture: SVG, written by hand."""

from __future__ import annotations

from xml.sax.saxutils import escape

from .report import PeersReport

_WIDTH, _LABEL, _BAR, _GAP, _TITLE, _MARGIN = 760, 170, 18, 5, 34, 16
_OURS, _THEIRS = "#0b6e99", "#b8c4cc"


def chart(report: PeersReport) -> str:
    """An SVG document: one panel for prefill and one for decode at each batch size.

    A bar for each row that was measured, its length in proportion to tokens a second.
    """
    first = report.batches[0]
    panels = [
        (
            f"prefill, {first} x {report.prompt_tokens} tokens",
            [report.prefill(row, first) for row in report.measured],
        )
    ]
    panels += [
        (f"decode, batch {batch}", [report.decode(row, batch) for row in report.measured])
        for batch in report.batches
    ]
    body: list[str] = []
    top = _MARGIN
    for title, speeds in panels:
        body.append(_text(_MARGIN, top + 20, f"{title}: tokens a second", "bold"))
        top += _TITLE
        longest = max(speeds, default=1.0)
        for row, speed in zip(report.measured, speeds, strict=True):
            # A decode time is a difference and may come out as noise below zero.
            length = max(0.0, speed) / longest * (_WIDTH - _LABEL - 2 * _MARGIN - 60)
            colour = _OURS if row.name == "sagellm" else _THEIRS
            left, base = _MARGIN + _LABEL, top + _BAR - 5
            body.append(_text(_MARGIN, base, f"{row.name} {row.weights}"))
            body.append(
                f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>'
            )
            body.append(_text(left + length + 6, base, f"{speed:,.0f}"))
            top += _BAR + _GAP
    caption = f"{report.model}, {report.processor}, {report.threads} threads"
    body.append(_text(_MARGIN, top + 20, caption))
    height = top + 20 + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _text(x: float, y: float, words: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" font-weight="{weight}">{escape(words)}</text>'
