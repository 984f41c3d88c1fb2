"""A report as text."""

from __future__ import annotations

from statistics import median

from .report import Report


def show(report: Report) -> None:
    """Print it."""
    print(f"model      {report.model}, float32")
    print(f"processor  {report.processor}, {report.threads} threads")
    print("versions   " + ", ".join(f"{k} {v}" for k, v in report.versions.items()))
    print(f"load       {report.load_before:.1f} before, {report.load_after:.1f} after")
    print(f"prompts    {report.prompt_tokens} tokens, {report.new_tokens} new ones, greedy\n")
    print("phase    batch    sagellm  transformers   ratio  same tokens")
    for row in report.comparisons:
        same = "yes" if report.same_tokens[row.batch] else "no"
        print(
            f"{row.phase:8} {row.batch:5} {row.ours:8.1f}/s {row.theirs:11.1f}/s "
            f"{row.ratio:6.2f}x  {same}"
        )
    if report.startup_s:
        print(f"\nstart of `sagellm run` to first token: {median(report.startup_s):.2f} s (median)")
