"""A comparison of quality, printed."""

from __future__ import annotations

from benchmarks.peers.session import not_measured

from .report import QualityReport


def show(report: QualityReport) -> None:
    """Print it, and which bars are reached."""
    print(f"model      {report.model}")
    print(f"processor  {report.processor}, {report.threads} threads")
    print(f"load       {report.load_before:.1f} before, {report.load_after:.1f} after")
    print(
        f"text       {report.tokens} tokens in windows of {report.window}; "
        f"{report.counted} of them count\n"
    )
    print(
        f"{'':14}{'weights':9}{'perplexity':>11}{'loss %':>9}{'+-':>7}"
        f"{'KL':>10}{'top-1':>8}{'seconds':>9}  computes in"
    )
    for row in report.rows:
        if row.failure or row.perplexity is None:
            print(not_measured(row))
            continue
        compared = f"{'-':>9}{'':7}{'-':>10}{'-':>8}"
        if row.loss is not None:
            error = f"{'-':>7}" if row.loss.error is None else f"{row.loss.error * 100:7.3f}"
            compared = (
                f"{row.loss.change * 100:9.3f}{error}"
                f"{row.loss.divergence:10.6f}{row.loss.agreement:8.2%}"
            )
        print(
            f"{row.name:14}{row.weights:9}{row.perplexity:11.4f}{compared}"
            f"{row.seconds:9.1f}  {row.computes}"
        )
    for bar in report.bars:
        verdict = "reached" if bar.reached else "NOT reached"
        print(f"\n{bar.what}: {bar.found:.3%}, limit {bar.limit:.3%}: {verdict}")
