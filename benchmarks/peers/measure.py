"""The comparison: every peer in turn, round by round, on the same prompts."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

from .catalogue import Peer
from .launch import Launch
from .limits import Limits
from .parameters import Parameters
from .process import PeerProcess
from .report import PeerResult, PeersReport
from .session import Session, attempt, say


def measure(
    peers: Sequence[Peer],
    launch: Launch,
    *,
    model: str,
    processor: str,
    vocab_size: int,
    parameters: Parameters | None,
    limits: Limits | None,
    threads: int,
    batches: Sequence[int],
    prompt_tokens: int,
    new_tokens: int,
    rounds: int,
    starts: int,
) -> PeersReport:
    """Measure them all. A peer that fails is a row with the reason.

    Each measurement has prompts of its own, the same for every peer: what one of them found in
    a cache of prompts would be no prefill.

    :param limits: what the machine can do; with ``parameters``, for achieved bandwidth.
    :param starts: fresh processes of each peer that count; 0 leaves the start out.
    """
    load_before = os.getloadavg()[0]
    rows = [PeerResult(peer.name, peer.weights, bits=peer.bits) for peer in peers]
    load = {"threads": threads, "context": prompt_tokens + new_tokens, "batch": max(batches)}
    rng = random.Random(0)

    def prompts(batch: int) -> list[list[int]]:
        return [[rng.randrange(10, vocab_size) for _ in range(prompt_tokens)] for _ in range(batch)]

    def start(row: PeerResult, peer: Peer, prompt: list[list[int]], count: bool) -> None:
        with launch(peer, load) as process:
            process.generate(prompt, 1)
            if count:
                row.start_s.append(process.age_s)

    # One more than counts: the first start converts weights and fills the system's file cache.
    for turn in range(starts + 1 if starts else 0):
        prompt = prompts(1)
        for row, peer in zip(rows, peers, strict=True):
            attempt(row, lambda r=row, p=peer: start(r, p, prompt, turn > 0))  # type: ignore[misc]  # noqa: B023
        say(f"start {turn} of {starts} done")
    with Session(peers, rows, launch, load) as session:
        for batch in batches:
            # The first turn does not count: first calls allocate and choose kernels.
            for turn in range(rounds + 1):
                asked = [prompts(batch) for _ in range(3)]
                _turn(session, rows, asked, new_tokens, counts=turn > 0)
            say(f"batch {batch} done")
        session.weigh()
    return PeersReport(
        model=model,
        processor=processor,
        threads=threads,
        load_before=load_before,
        load_after=os.getloadavg()[0],
        parameters=parameters,
        limits=limits,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        batches=list(batches),
        rows=rows,
    )


def _turn(
    session: Session,
    rows: Sequence[PeerResult],
    prompts: list[list[list[int]]],
    new_tokens: int,
    *,
    counts: bool,
) -> None:
    """Each peer in turn: a call that does not count, one for a single token, one for all."""

    def run(index: int, process: PeerProcess) -> None:
        # While it was stopped, the others had the caches, and the system may have taken pages.
        process.generate(prompts[0], 1)
        first, answers = process.generate(prompts[1], 1)
        whole, _ = process.generate(prompts[2], new_tokens)
        if not counts:
            return
        row, batch = rows[index], len(prompts[0])
        row.first_tokens += [answer[0] for answer in answers]
        row.prefill_s.setdefault(batch, []).append(first)
        row.whole_s.setdefault(batch, []).append(whole)

    session.each(run)
