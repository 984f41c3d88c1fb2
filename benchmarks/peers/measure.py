"""The comparison: every peer in turn, round by round, on the same prompts."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .catalogue import LLAMA_CPP, Peer
from .environment import environment_python
from .process import PeerError, PeerProcess
from .report import PeerResult, PeersReport
from .weights import converted

#: Gives the process of a peer, loaded.
Launch = Callable[[Peer, dict[str, Any]], PeerProcess]


def launcher(base: Path, model: Path) -> Launch:
    """Peers in their environments below ``base``, on ``model`` in the form that each reads."""

    def launch(peer: Peer, load: dict[str, Any]) -> PeerProcess:
        python, path = Path(sys.executable), model
        if peer.requirements:
            python = environment_python(base, peer.name, peer.requirements)
        if peer.form is not None:
            converter = python
            if peer.form != "safetensors":
                converter = environment_python(base, "llama.cpp", LLAMA_CPP)
            path = converted(base, model, peer.form, converter)
        command = [str(python), "-m", f"benchmarks.peers.{peer.module}"]
        return PeerProcess(command, {"model": str(path), **load})

    return launch


def measure(
    peers: Sequence[Peer],
    launch: Launch,
    *,
    model: str,
    processor: str,
    vocab_size: int,
    threads: int,
    batches: Sequence[int],
    prompt_tokens: int,
    new_tokens: int,
    rounds: int,
) -> PeersReport:
    """Measure them all. A peer that fails is a row with the reason.

    Each measurement has prompts of its own, the same for every peer: what one of them found in
    a cache of prompts would be no prefill.
    """
    load_before = os.getloadavg()[0]
    rows = [PeerResult(peer.name, peer.weights) for peer in peers]
    load = {"threads": threads, "context": prompt_tokens + new_tokens, "batch": max(batches)}
    rng = random.Random(0)

    def prompts(batch: int) -> list[list[int]]:
        return [[rng.randrange(10, vocab_size) for _ in range(prompt_tokens)] for _ in range(batch)]

    def attempt(row: PeerResult, action: Callable[[], None]) -> None:
        if row.failure:
            return
        try:
            action()
        except (PeerError, OSError) as error:
            row.failure = str(error) or repr(error)
            _say(f"{row.name} {row.weights}: {row.failure}")

    def start(row: PeerResult, peer: Peer, prompt: list[list[int]], count: bool) -> None:
        def fresh() -> None:
            with launch(peer, {**load, "quantization": peer.quantization}) as process:
                process.generate(prompt, 1)
                if count:
                    row.start_s.append(process.age_s)

        attempt(row, fresh)

    # One more than counts: the first start converts weights and fills the system's file cache.
    for turn in range(rounds + 1):
        prompt = prompts(1)
        for row, peer in zip(rows, peers, strict=True):
            start(row, peer, prompt, turn > 0)
    with ExitStack() as opened:
        processes: dict[int, PeerProcess] = {}

        def enter(index: int) -> None:
            process = launch(peers[index], {**load, "quantization": peers[index].quantization})
            processes[index] = opened.enter_context(process)
            rows[index].version = process.version

        def run(index: int, given: list[list[int]], count: int, into: list[float] | None) -> None:
            seconds, _ = processes[index].generate(given, count)
            if into is not None:
                into.append(seconds)

        for index, row in enumerate(rows):
            attempt(row, lambda index=index: enter(index))
        for batch in batches:
            # The first turn does not count: first calls allocate and choose kernels.
            for turn in range(rounds + 1):
                for count in (1, new_tokens):
                    given = prompts(batch)
                    for index, row in enumerate(rows):
                        kept = row.prefill_s if count == 1 else row.whole_s
                        into = kept.setdefault(batch, []) if turn else None
                        attempt(
                            row,
                            lambda index=index, given=given, count=count, into=into: run(
                                index, given, count, into
                            ),
                        )
            _say(f"batch {batch} done")

        def weigh(index: int) -> None:
            rows[index].peak_rss_bytes = processes[index].peak_rss_bytes()

        for index, row in enumerate(rows):
            attempt(row, lambda index=index: weigh(index))
    return PeersReport(
        model,
        processor,
        threads,
        load_before,
        os.getloadavg()[0],
        prompt_tokens,
        new_tokens,
        list(batches),
        rows,
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
