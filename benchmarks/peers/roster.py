"""The peers of one run, and what they are run on, from the command line."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from sagellm_cpu.processor import read_name, usable_threads

from sagellm_core.contract import ModelDescription
from sagellm_core.models import describe
from sagellm_core.session import cache_directory

from .catalogue import NAMES, PEERS, Peer, ours
from .launch import Launch, launcher


@dataclass(frozen=True, slots=True)
class Roster:
    """Who runs, and on what."""

    peers: list[Peer]
    launch: Launch
    description: ModelDescription
    processor: str
    threads: int

    @property
    def vocab_size(self) -> int:
        """Prompts are random ids below it."""
        return self.description.vocab_size or 1000


def roster(arguments: argparse.Namespace, choices: tuple[str, ...] = NAMES) -> Roster:
    """sagellm with each ``--quantizations``, then each of ``--peers``.

    :param choices: names that ``--peers`` may have.
    :raises SystemExit: a name is unknown, or there is nowhere to install peers.
    """
    wanted = [name for name in arguments.peers.split(",") if name]
    unknown = [name for name in wanted if name not in choices]
    if unknown:
        sys.exit(f"There is no peer {', '.join(unknown)} here; there are {', '.join(choices)}.")
    cache = cache_directory()
    base: Path | None = arguments.environments or (cache and cache / "benchmarks")
    if base is None:
        sys.exit("There is no cache directory; name one with --environments DIR.")
    description = describe(arguments.model)
    assert description.path is not None, "a described model has a path"
    root = Path("/")
    quantizations = [name for name in arguments.quantizations.split(",") if name]
    return Roster(
        [ours(name) for name in quantizations] + [peer for peer in PEERS if peer.name in wanted],
        launcher(base.resolve(), description.path),
        description,
        read_name(root),
        arguments.threads or usable_threads(root),
    )
