"""A prompt that begins as one before it: ``python -m benchmarks prefix``."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from .peers.catalogue import Peer
from .peers.launch import Launch
from .peers.process import PeerProcess
from .peers.session import Session, not_measured, say

#: Peers that keep what prompts have in common.
CACHING = ("vllm",)


@dataclass(slots=True)
class PrefixResult:
    """One peer; lists are by round, in seconds to the first token."""

    name: str
    weights: str
    version: str = ""
    computes: str = ""
    failure: str = ""
    #: Nothing of the prompt was seen before.
    cold_s: list[float] = field(default_factory=list)
    #: Its prefix was, with another end.
    warm_s: list[float] = field(default_factory=list)
    peak_rss_bytes: int = 0

    @property
    def part(self) -> float:
        """Warm as a part of cold, medians."""
        return median(self.warm_s) / median(self.cold_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixReport:
    """Everything measured, and on what."""

    model: str
    processor: str
    threads: int
    load_before: float
    load_after: float
    prefix_tokens: int
    own_tokens: int
    rows: list[PrefixResult]


def measure(
    peers: Sequence[Peer],
    launch: Launch,
    *,
    model: str,
    processor: str,
    vocab_size: int,
    threads: int,
    prefix_tokens: int,
    own_tokens: int,
    rounds: int,
) -> PrefixReport:
    """Time a prompt with a new prefix, then another with the same one; a new prefix each round."""
    load_before = os.getloadavg()[0]
    rng = random.Random(0)
    rows = [PrefixResult(peer.name, peer.weights) for peer in peers]
    load = {"threads": threads, "context": prefix_tokens + own_tokens + 1, "batch": 1}
    caching = [replace(peer, settings={**peer.settings, "prefix_cache": True}) for peer in peers]

    def tokens(count: int) -> list[int]:
        return [rng.randrange(10, vocab_size) for _ in range(count)]

    with Session(caching, rows, launch, load) as session:
        for turn in range(rounds + 1):
            prefix = tokens(prefix_tokens)
            prompts = [prefix + tokens(own_tokens) for _ in range(2)]

            def run(
                index: int,
                process: PeerProcess,
                prompts: list[list[int]] = prompts,
                counts: bool = turn > 0,
            ) -> None:
                cold, warm = (process.generate([prompt], 1)[0] for prompt in prompts)
                if counts:
                    rows[index].cold_s.append(cold)
                    rows[index].warm_s.append(warm)

            session.each(run)
            say(f"round {turn} of {rounds} done")
        session.weigh()
    return PrefixReport(
        model=model,
        processor=processor,
        threads=threads,
        load_before=load_before,
        load_after=os.getloadavg()[0],
        prefix_tokens=prefix_tokens,
        own_tokens=own_tokens,
        rows=rows,
    )


def show(report: PrefixReport) -> None:
    """Print it."""
    print(f"model      {report.model}")
    print(f"processor  {report.processor}, {report.threads} threads")
    print(f"load       {report.load_before:.1f} before, {report.load_after:.1f} after")
    print(f"prompts    {report.prefix_tokens} tokens in common, {report.own_tokens} of their own\n")
    print(f"{'':14}{'weights':9}{'cold ms':>9}{'warm ms':>9}{'part':>8}")
    for row in report.rows:
        if row.failure:
            print(not_measured(row))
            continue
        cold, warm = median(row.cold_s) * 1e3, median(row.warm_s) * 1e3
        print(f"{row.name:14}{row.weights:9}{cold:9.1f}{warm:9.1f}{row.part:8.1%}  {row.computes}")
