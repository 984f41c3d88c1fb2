"""Embedding on this CPU beside sentence-transformers: same files, same texts, in turn."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sagellm_cpu.processor import read_name, usable_threads

from sagellm_core.models import describe

from .embed_report import EmbedReport, TextSet
from .embed_side import Side, first_vector_seconds
from .embed_texts import make_texts

#: Name, shortest and longest text in tokens.
SETS = (("of 1 to 400 tokens", 1, 400), ("of 1 to 32 tokens", 1, 32))
_OURS, _THEIRS = "embed_ours", "embed_theirs"


def measure(
    reference: str,
    *,
    count: int,
    rounds: int,
    threads: int | None,
    startup: bool,
    their_python: str,
    quantization: str,
) -> EmbedReport:
    """Each side in a process of its own; rounds take turns, so both meet the same disturbances.

    :param their_python: the interpreter that has sentence-transformers.
    :param quantization: ours; sentence-transformers always computes in float32.
    """
    root = Path("/")
    threads = threads or usable_threads(root)
    load_before = os.getloadavg()[0]
    path = describe(reference).path
    assert path is not None, "a described model has a path"
    chosen = {"BENCHMARK_QUANTIZATION": quantization}
    startups = _startups(path, rounds, their_python, chosen) if startup else {}
    with (
        tempfile.TemporaryDirectory() as scratch,
        Side(sys.executable, _OURS, path, threads, chosen) as ours,
        Side(their_python, _THEIRS, path, threads) as theirs,
    ):
        sets = []
        for name, shortest, longest in SETS:
            # New texts in every round, as in real work: what a side prepares for one mix of
            # lengths does not fit the next.
            turns = [
                make_texts(path, count=count, shortest=shortest, longest=longest, seed=turn)
                for turn in range(rounds + 1)
            ]
            found = _compare(name, ours, theirs, turns, Path(scratch))
            sets.append(found)
            _say(f"{name}: {found.ratio:.2f}x")
        versions = {side.name: side.version for side in (ours, theirs)}
    return EmbedReport(
        model=reference,
        quantization=quantization,
        processor=read_name(root),
        threads=threads,
        load_before=load_before,
        load_after=os.getloadavg()[0],
        versions=versions,
        sets=sets,
        startup_s=startups,
    )


def _startups(
    path: Path, rounds: int, their_python: str, chosen: dict[str, str]
) -> dict[str, list[float]]:
    sides: dict[str, tuple[str, str, dict[str, str]]] = {
        f"sagellm, backend_type='{backend}'": (
            sys.executable,
            _OURS,
            {"BENCHMARK_BACKEND": backend, **chosen},
        )
        for backend in ("cpu", "auto")
    }
    sides["sentence-transformers"] = (their_python, _THEIRS, {})
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    # One more than counts: the first start reads from the disk what later ones find in memory.
    for turn in range(rounds + 1):
        for name, (python, module, environment) in sides.items():
            taken = first_vector_seconds(python, module, path, environment)
            if turn:
                seconds[name].append(taken)
    for name, each in seconds.items():
        _say(f"start to first vector, {name}: {min(each):.2f} to {max(each):.2f} s")
    return seconds


def _compare(name: str, ours: Side, theirs: Side, turns: list[list[str]], scratch: Path) -> TextSet:
    seconds: dict[Side, list[float]] = {ours: [], theirs: []}
    files = {ours: scratch / "ours.npy", theirs: scratch / "theirs.npy"}
    for side, file in files.items():  # first calls allocate and choose kernels
        side.embed(turns[0], save=file)
    for texts in turns[1:]:
        for side, taken in seconds.items():
            taken.append(side.embed(texts))
    return TextSet(
        name=name,
        texts=len(turns[0]),
        words=[sum(len(text.split()) for text in texts) for texts in turns[1:]],
        ours_s=seconds[ours],
        theirs_s=seconds[theirs],
        distance=_distance(list(files.values())),
    )


def _distance(files: Sequence[Path]) -> float:
    import numpy as np

    ours, theirs = (np.load(file).astype(np.float64) for file in files)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float((1 - (ours * theirs).sum(axis=1) / lengths).max())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
