"""Requests of mixed lengths that arrive at random: ``python -m benchmarks trace``."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from .peers.catalogue import Peer
from .peers.child import Arrival
from .peers.launch import Launch
from .peers.process import PeerProcess
from .peers.session import Session, not_measured, say

#: Lengths are uniform on a logarithmic scale, as those of people are: most short, a few long.
_PROMPT_TOKENS = (16, 512)
_NEW_TOKENS = (8, 128)
#: Peers that take requests while they compute others.
FOLLOWERS = ("vllm",)


@dataclass(slots=True)
class TraceResult:
    """One peer; lists are by round."""

    name: str
    weights: str
    version: str = ""
    computes: str = ""
    failure: str = ""
    #: From the trace's begin to the last token of all.
    total_s: list[float] = field(default_factory=list)
    #: From a request's arrival to its first token: median, and what 95 % stay below.
    ttft_s: list[float] = field(default_factory=list)
    ttft_95_s: list[float] = field(default_factory=list)
    peak_rss_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceReport:
    """Everything measured, and on what."""

    model: str
    processor: str
    threads: int
    load_before: float
    load_after: float
    seed: int
    rate: float
    requests: int
    prompt_tokens: int
    new_tokens: int
    #: When the last request arrives: no total is below it.
    last_arrival_s: float
    rows: list[TraceResult]


def arrivals(*, requests: int, rate: float, seed: int, vocab_size: int) -> list[Arrival]:
    """A Poisson process of ``rate`` requests a second; the same for the same arguments."""
    rng = random.Random(seed)
    made: list[Arrival] = []
    at_s = 0.0
    for _ in range(requests):
        length, new_tokens = (
            round(shortest * (longest / shortest) ** rng.random())
            for shortest, longest in (_PROMPT_TOKENS, _NEW_TOKENS)
        )
        prompt = [rng.randrange(10, vocab_size) for _ in range(length)]
        made.append(Arrival(at_s, prompt, new_tokens))
        at_s += rng.expovariate(rate)
    return made


def measure(
    peers: Sequence[Peer],
    launch: Launch,
    *,
    model: str,
    processor: str,
    vocab_size: int,
    threads: int,
    requests: int,
    rate: float,
    seed: int,
    batch: int,
    rounds: int,
) -> TraceReport:
    """Serve the same trace with every peer in turn, ``rounds`` times after one that is not kept.

    :param batch: most sequences that a peer computes at once.
    """
    load_before = os.getloadavg()[0]
    trace = arrivals(requests=requests, rate=rate, seed=seed, vocab_size=vocab_size)
    asked = [{"at_s": a.at_s, "prompt": a.prompt, "new_tokens": a.new_tokens} for a in trace]
    rows = [TraceResult(peer.name, peer.weights) for peer in peers]
    load = {"threads": threads, "context": _PROMPT_TOKENS[1] + _NEW_TOKENS[1], "batch": batch}
    with Session(peers, rows, launch, load) as session:
        for turn in range(rounds + 1):

            def run(index: int, process: PeerProcess, counts: bool = turn > 0) -> None:
                times = process.follow(asked)
                if counts:
                    _note(rows[index], trace, times)

            session.each(run)
            say(f"round {turn} of {rounds} done")
        session.weigh()
    return TraceReport(
        model=model,
        processor=processor,
        threads=threads,
        load_before=load_before,
        load_after=os.getloadavg()[0],
        seed=seed,
        rate=rate,
        requests=requests,
        prompt_tokens=sum(len(arrival.prompt) for arrival in trace),
        new_tokens=sum(arrival.new_tokens for arrival in trace),
        last_arrival_s=trace[-1].at_s,
        rows=rows,
    )


def _note(row: TraceResult, trace: list[Arrival], times: list[tuple[float, float]]) -> None:
    waits = [first - arrival.at_s for arrival, (first, _) in zip(trace, times, strict=True)]
    row.total_s.append(max(last for _, last in times))
    row.ttft_s.append(median(waits))
    row.ttft_95_s.append(quantiles(waits, n=20)[-1] if len(waits) > 1 else waits[0])


def show(report: TraceReport) -> None:
    """Print it; the last column is ours as a part of the peer's total."""
    print(f"model      {report.model}")
    print(f"processor  {report.processor}, {report.threads} threads")
    print(f"load       {report.load_before:.1f} before, {report.load_after:.1f} after")
    print(
        f"trace      {report.requests} requests, {report.prompt_tokens} prompt and "
        f"{report.new_tokens} new tokens, {report.rate:g} a second, the last after "
        f"{report.last_arrival_s:.1f} s, seed {report.seed}\n"
    )
    print(f"{'':14}{'weights':9}{'total s':>9}{'tok/s':>9}{'ttft s':>9}{'95 % s':>9}{'MB':>7}")
    measured = [row for row in report.rows if not row.failure]
    for row in measured:
        total = median(row.total_s)
        print(
            f"{row.name:14}{row.weights:9}{total:9.2f}{report.new_tokens / total:9.1f}"
            f"{median(row.ttft_s):9.2f}{median(row.ttft_95_s):9.2f}"
            f"{row.peak_rss_bytes / 1e6:7.0f}  {row.computes}"
        )
    for row in report.rows:
        if row.failure:
            print(not_measured(row))
    for our in (row for row in measured if row.name == "sagellm"):
        for row in (row for row in measured if row.name != "sagellm"):
            part = median(our.total_s) / median(row.total_s)
            print(f"sagellm {our.weights} takes {part:.2f} of the time of {row.name}")
