"""A comparison with peers, printed."""

from __future__ import annotations

from statistics import median

from .report import PeersReport
from .session import not_measured

_BLANK = f"{'-':>9}"


def show(report: PeersReport) -> None:
    """Print it: the numbers, the machine's limits, then ours as a multiple of each peer's."""
    print(f"model      {report.model}")
    print(f"processor  {report.processor}, {report.threads} threads")
    print(f"load       {report.load_before:.1f} before, {report.load_after:.1f} after")
    print(f"prompts    {report.prompt_tokens} tokens, {report.new_tokens} new ones, greedy")
    if report.limits is not None:
        print(
            f"limits     {report.limits.read_gb:.1f} GB/s read; GFLOP/s: "
            f"float32 {report.limits.float32_gflop:.0f}, "
            f"bfloat16 {report.limits.bfloat16_gflop:.0f}, int8 {report.limits.int8_gop:.0f}"
        )
    first = report.batches[0]
    speeds = f"{'prefill':>9}" + "".join(f"{f'b{batch}':>9}" for batch in report.batches)
    print(
        f"\n{'':14}{'weights':9}{speeds}{'ttft ms':>9}{'start s':>9}{'MB':>7}"
        f"{'GB/s':>9}{'GFLOP/s':>9}{'same':>6}  computes in"
    )
    for row in report.measured:
        numbers = [report.prefill(row, first)]
        numbers += [report.decode(row, batch) for batch in report.batches]
        cells = "".join(f"{number:9.1f}" for number in numbers)
        start = f"{median(row.start_s):9.2f}" if row.start_s else _BLANK
        achieved = "".join(
            _BLANK if number is None else f"{number:9.1f}"
            for number in (report.read_gb(row), report.prefill_gflop(row))
        )
        agreement = report.agreement(row)
        same = f"{'-':>6}" if agreement is None else f"{agreement:6.0%}"
        print(
            f"{row.name:14}{row.weights:9}{cells}{median(row.prefill_s[first]) * 1e3:9.1f}"
            f"{start}{row.peak_rss_bytes / 1e6:7.0f}{achieved}{same}  {row.computes}"
        )
    for row in report.rows:
        if row.failure:
            print(not_measured(row))
    for our in (row for row in report.measured if row.name == "sagellm"):
        print(f"\nsagellm {our.weights} as a multiple of")
        print(f"{'':23}{speeds}")
        for row in (row for row in report.measured if row.name != "sagellm"):
            ratios = [report.prefill(our, first) / report.prefill(row, first)]
            ratios += [report.decode(our, b) / report.decode(row, b) for b in report.batches]
            print(f"{row.name:14}{row.weights:9}" + "".join(f"{ratio:8.2f}x" for ratio in ratios))
