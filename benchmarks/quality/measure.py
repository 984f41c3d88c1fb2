"""All sides over the same windows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from benchmarks.peers.process import PeerError
from benchmarks.peers.session import attempt, say

from .process import ScoringProcess
from .report import QualityReport, QualityRow, bars
from .scores import loss, perplexity, score_window
from .sides import Launch, Side
from .text import SHA256, windows

_SAY_EVERY = 10


def measure(
    sides: Sequence[Side],
    launch: Launch,
    *,
    model: str,
    processor: str,
    threads: int,
    text: str,
    window: int,
    tokens: int | None,
) -> QualityReport:
    """Predict the second half of each window from all that comes before it in the window.

    The first half gives context and does not count. Every side gets the same token ids, those of
    the model's own tokenizer, and no special token. Sides take turns window by window, so that
    the logits of a window need not be kept.

    :param tokens: so many of the text at most; ``None``: all.
    :raises PeerError: the first side, which has the tokenizer, failed.
    :raises ValueError: the text does not fill a window.
    """
    load_before = os.getloadavg()[0]
    torch.set_num_threads(threads)
    names = [f"{side.peer.name} {side.peer.weights}" for side in sides]
    rows = [QualityRow(side.peer.name, side.peer.weights, names[side.reference]) for side in sides]
    load = {"threads": threads, "context": window}
    with ExitStack() as stack, tempfile.TemporaryDirectory() as scratch:
        processes: dict[int, ScoringProcess] = {}
        for index, (side, row) in enumerate(zip(sides, rows, strict=True)):

            def start(index: int = index, side: Side = side, row: QualityRow = row) -> None:
                process = launch(side.peer, load)
                stack.enter_context(process)
                processes[index] = process
                row.version, row.computes = process.version, process.computes

            attempt(row, start)
        if 0 not in processes:
            raise PeerError(f"{names[0]}, which all is compared with: {rows[0].failure}")
        cut = windows(processes[0].encode(text)[:tokens], window)
        path = Path(scratch) / "logits"
        for number, given in enumerate(cut, 1):
            references: dict[int, torch.Tensor] = {}
            for index, (side, row) in enumerate(zip(sides, rows, strict=True)):

                def run(
                    index: int = index,
                    side: Side = side,
                    row: QualityRow = row,
                    given: list[int] = given,
                    references: dict[int, torch.Tensor] = references,
                ) -> None:
                    _predict(processes[index], index, side, row, given, references, path)

                attempt(row, run)
            if number % _SAY_EVERY == 0 or number == len(cut):
                say(f"window {number} of {len(cut)} done")
        for index, row in enumerate(rows):
            if not row.failure:
                row.perplexity = perplexity(row.windows)
                reference = rows[sides[index].reference]
                if reference is not row and not reference.failure:
                    row.loss = loss(row.windows, reference.windows)
    return QualityReport(
        model=model,
        processor=processor,
        threads=threads,
        load_before=load_before,
        load_after=os.getloadavg()[0],
        text_sha256=SHA256,
        window=window,
        tokens=len(cut) * window,
        counted=len(cut) * (window - window // 2),
        rows=rows,
        bars=bars(rows),
    )


def _predict(
    process: ScoringProcess,
    index: int,
    side: Side,
    row: QualityRow,
    given: list[int],
    references: dict[int, torch.Tensor],
    path: Path,
) -> None:
    half = len(given) // 2
    # Row i predicts token i + 1; the last token is only predicted.
    seconds, logits = process.score(given[:-1], half - 1, path)
    if side.reference == index:
        references[index] = logits
        reference = None
    else:
        reference = references.get(side.reference)
    try:
        row.windows.append(score_window(logits, given[half:], reference))
    except ValueError as error:
        raise PeerError(str(error)) from error
    row.seconds += seconds
