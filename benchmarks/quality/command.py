"""From the command line to a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sagellm_cpu.processor import read_name, usable_threads

from benchmarks.peers.process import PeerError
from sagellm_core.models import describe
from sagellm_core.session import cache_directory

from .arguments import NAMES
from .measure import measure
from .report import QualityReport
from .sides import launcher, sides
from .table import show
from .text import read_text


def run(arguments: argparse.Namespace) -> QualityReport:
    """Measure and print.

    :raises SystemExit: an option makes no sense, or float32 itself could not be measured.
    """
    peers = [name for name in arguments.peers.split(",") if name]
    unknown = [name for name in peers if name not in NAMES]
    if unknown:
        sys.exit(f"There is no peer {', '.join(unknown)} here; there are {', '.join(NAMES)}.")
    if arguments.window < 2:
        sys.exit("--window is at least 2: one token that is given, one that is predicted.")
    if arguments.tokens is not None and arguments.tokens < arguments.window:
        sys.exit(f"--tokens is at least --window, which is {arguments.window}.")
    cache = cache_directory()
    base: Path | None = arguments.environments or (cache and cache / "benchmarks")
    if base is None:
        sys.exit("There is no cache directory; name one with --environments DIR.")
    path = describe(arguments.model).path
    assert path is not None, "a described model has a path"
    root = Path("/")
    quantizations = [name for name in arguments.quantizations.split(",") if name]
    try:
        report = measure(
            sides(quantizations, peers),
            launcher(base.resolve(), path),
            model=arguments.model,
            processor=read_name(root),
            threads=arguments.threads or usable_threads(root),
            text=read_text(),
            window=arguments.window,
            tokens=arguments.tokens,
        )
    except (PeerError, ValueError) as error:
        sys.exit(str(error))
    show(report)
    return report
