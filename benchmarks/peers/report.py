"""What a comparison with peers found, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median


@dataclass(slots=True)
class PeerResult:
    """One peer with one kind of weights."""

    name: str
    weights: str
    version: str = ""
    #: Why it has no numbers; empty where it has.
    failure: str = ""
    #: Seconds from the start of a fresh process to its first token of a prompt, by round.
    start_s: list[float] = field(default_factory=list)
    #: By batch size, seconds of each round: for one new token, and for all.
    prefill_s: dict[int, list[float]] = field(default_factory=dict)
    whole_s: dict[int, list[float]] = field(default_factory=dict)
    peak_rss_bytes: int = 0


@dataclass(slots=True)
class PeersReport:
    """Everything measured, and on what."""

    model: str
    processor: str
    threads: int
    load_before: float
    load_after: float
    prompt_tokens: int
    new_tokens: int
    batches: list[int]
    rows: list[PeerResult]

    def prefill(self, row: PeerResult, batch: int) -> float:
        """Prompt tokens a second, median round."""
        return batch * self.prompt_tokens / median(row.prefill_s[batch])

    def decode(self, row: PeerResult, batch: int) -> float:
        """New tokens a second after the first of each sequence, median round."""
        seconds = median(
            whole - prefill
            for whole, prefill in zip(row.whole_s[batch], row.prefill_s[batch], strict=True)
        )
        return batch * (self.new_tokens - 1) / seconds


def show(report: PeersReport) -> None:
    """Print it: the numbers, then ours as a multiple of each peer's."""
    print(f"model      {report.model}")
    print(f"processor  {report.processor}, {report.threads} threads")
    print(f"load       {report.load_before:.1f} before, {report.load_after:.1f} after")
    print(f"prompts    {report.prompt_tokens} tokens, {report.new_tokens} new ones, greedy\n")
    first = report.batches[0]
    decodes = "".join(f"{f'b{batch}':>9}" for batch in report.batches)
    print(f"{'':14}{'weights':8}{'prefill':>9}{decodes}{'ttft ms':>9}{'start s':>9}{'MB':>7}")
    measured = [row for row in report.rows if not row.failure]
    for row in measured:
        numbers = [report.prefill(row, first)]
        numbers += [report.decode(row, batch) for batch in report.batches]
        cells = "".join(f"{number:9.1f}" for number in numbers)
        print(
            f"{row.name:14}{row.weights:8}{cells}{median(row.prefill_s[first]) * 1e3:9.1f}"
            f"{median(row.start_s):9.2f}{row.peak_rss_bytes / 1e6:7.0f}"
        )
    for row in report.rows:
        if row.failure:
            print(f"{row.name:14}{row.weights:8} not measured: {' '.join(row.failure.split())}")
    for our in (row for row in measured if row.name == "sagellm"):
        print(f"\nsagellm {our.weights} as a multiple of")
        for row in (row for row in measured if row.name != "sagellm"):
            ratios = [report.prefill(our, first) / report.prefill(row, first)]
            ratios += [report.decode(our, b) / report.decode(row, b) for b in report.batches]
            print(f"{row.name:14}{row.weights:8}" + "".join(f"{ratio:8.2f}x" for ratio in ratios))
