"""The table of what each provider passes, from ``conformance.json`` files.

``python -m sagellm_core.testing.support DIRECTORY`` reads all of them in a directory and prints
the page; ``docs/vendors/support.md`` is made so.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .groups import GROUPS, VERDICTS
from .page import cell, device_shown, table
from .report import Report
from .result import CheckResult, Outcome
from .tiny.family import FAMILIES

_INTRODUCTION = """\
# What each provider passes

[For vendors](index.md)

Every cell comes from a run of [the conformance suite](conformance.md); nobody has written one. The
results lie in `docs/vendors/results/`, one file a provider, as `sagellm conformance` wrote them.
This page is made of them by `python -m sagellm_core.testing.support docs/vendors/results`. A
provider whose hardware was absent has proven what can be told without it, and no more."""
_CAPABILITIES = ("generate", "logprobs", "embed", "engine", "any_model")
_PASSED = (Outcome.PASSED, Outcome.XPASSED)
#: Tests that hold a family of models to the reference.
_DECODES, _EMBEDS = "test_greedy_tokens_equal_the_reference", "test_vectors_equal_the_reference"


def read_reports(place: Path) -> list[Report]:
    """All reports in a directory, by name of the plugin.

    :raises ValueError: a file is no report.
    """
    found = [
        Report.from_dict(json.loads(path.read_text(encoding="utf-8")))
        for path in place.glob("*.json")
    ]
    return sorted(found, key=lambda report: report.plugin)


def support_page(reports: Sequence[Report]) -> str:
    """The page, ending in a newline."""
    parts = [
        _INTRODUCTION,
        "## Where it ran",
        table(
            ("provider", "distribution", "core", "contract", "device", "machine"),
            [
                (
                    report.plugin,
                    f"{report.dist} {report.version}",
                    report.core,
                    report.contract,
                    device_shown(report),
                    f"{report.platform}, Python {report.python}",
                )
                for report in reports
            ],
        ),
        "## Groups",
        "Tests that passed; in brackets those that failed, were expected to fail, or were skipped.",
        table(
            ("provider", *GROUPS),
            [(report.plugin, *(_group(report, group) for group in GROUPS)) for report in reports],
        ),
        "## Capabilities",
        table(
            ("provider", *_CAPABILITIES),
            [
                (report.plugin, *(_capability(report, each) for each in _CAPABILITIES))
                for report in reports
            ],
        ),
        "## Families of models",
        "Equal to the suite's reference: greedy tokens of decoders, vectors of encoders.",
        table(
            ("provider", *FAMILIES),
            [(report.plugin, *(_family(report, name) for name in FAMILIES)) for report in reports],
        ),
        "## What did not pass, and why",
    ]
    for report in reports:
        parts += [f"### {report.plugin}", _rest(report)]
    return "\n\n".join(parts) + "\n"


def _group(report: Report, group: str) -> str:
    if group not in report.groups:
        return "not run"
    passed = len(report.of(*_PASSED, group=group))
    others = [
        f"{count} {word}"
        for word, outcome in (
            ("failed", Outcome.FAILED),
            ("expected", Outcome.XFAILED),
            ("skipped", Outcome.SKIPPED),
        )
        if (count := len(report.of(outcome, group=group)))
    ]
    return f"{passed} ({', '.join(others)})" if others else str(passed)


def _capability(report: Report, capability: str) -> str:
    for result in report.results:
        if result.group == VERDICTS and result.id.endswith(f"[{capability}]"):
            return _word(result)
    return "-"


def _family(report: Report, family: str) -> str:
    test = _EMBEDS if FAMILIES[family].is_encoder else _DECODES
    for result in report.results:
        if result.id.endswith(f"::{test}[{family}]"):
            return _word(result)
    return "-"


def _word(result: CheckResult) -> str:
    if result.outcome in _PASSED:
        return "passes"
    return {Outcome.FAILED: "fails", Outcome.XFAILED: "expected to fail"}.get(
        result.outcome, "not run"
    )


def _rest(report: Report) -> str:
    lines = [
        f"- `{each.id}` {each.outcome}: {cell(each.reason)}"
        for each in report.of(Outcome.FAILED, Outcome.XFAILED)
    ]
    skipped = Counter(
        cell(each.reason) for each in report.of(Outcome.SKIPPED) if each.group != VERDICTS
    )
    lines += [f"- {count} skipped: {reason}" for reason, count in skipped.items()]
    return "\n".join(lines) if lines else "Everything passed."


def main(words: Sequence[str]) -> int:
    """Print the page of the directory that is named."""
    if len(words) != 1 or not Path(words[0]).is_dir():
        print("usage: python -m sagellm_core.testing.support DIRECTORY", file=sys.stderr)
        return 2
    sys.stdout.write(support_page(read_reports(Path(words[0]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
