"""A report as a page of Markdown: only what tests came to, and no claim."""

from __future__ import annotations

from collections.abc import Iterable

from .groups import GROUPS, OWN, VERDICTS
from .report import Report
from .result import CheckResult, Outcome

_PASSED = (Outcome.PASSED, Outcome.XPASSED)


def page(report: Report) -> str:
    """The page, ending in a newline."""
    parts = [
        f"# {report.plugin}: {report.verdict}{report.reach}",
        "Written by `sagellm conformance` from the results of its tests.",
        table(("", ""), _facts(report)),
        "## Groups",
        table(
            ("group", "passed", "failed", "expected failures", "skipped"),
            [_group_row(report, group) for group in groups_of(report)],
        ),
        "## Capabilities",
        table(
            ("declared", "has a passing test"), [_verdict_row(each) for each in _verdicts(report)]
        ),
        *_section("Failed", report.of(Outcome.FAILED)),
        *_section("Expected failures", report.of(Outcome.XFAILED)),
    ]
    if report.stale:
        parts += ["## No longer failing", "\n".join(f"- {cell(each)}" for each in report.stale)]
    parts += _section("Skipped", report.of(Outcome.SKIPPED))
    parts += ["## Passed", _passed(report)]
    return "\n\n".join(parts) + "\n"


def groups_of(report: Report) -> list[str]:
    """Groups with results, in order; verdicts are told apart."""
    found = {each.group for each in report.results}
    return [group for group in (*GROUPS, OWN) if group in found]


def _facts(report: Report) -> list[tuple[str, str]]:
    facts = [
        ("plugin", f"{report.dist} {report.version}, for contract {report.contract}"),
        ("made by", report.vendor),
        ("core", f"{report.core}, contract {report.core_contract}"),
        ("device", device_shown(report)),
        ("machine", f"{report.platform}, Python {report.python}"),
    ]
    options = ", ".join(f"{name}={value!r}" for name, value in report.provider_options.items())
    return [*facts, ("provider options", options)] if options else facts


def device_shown(report: Report) -> str:
    """The device, and what is wrong with it where something is."""
    device = report.device
    if not device:
        return "the plugin told of none"
    shown = str(device["id"])
    if device["name"]:
        shown += f" ({device['name']})"
    if device["state"] != "usable":
        state = device["state"].replace("_", ", ")
        shown += f", {state}: {device['reason']}"
    elif device["driver"]:
        shown += f", driver {device['driver']}"
    return shown


def _group_row(report: Report, group: str) -> tuple[str, ...]:
    outcomes = (_PASSED, (Outcome.FAILED,), (Outcome.XFAILED,), (Outcome.SKIPPED,))
    return (group, *(str(len(report.of(*each, group=group))) for each in outcomes))


def _verdicts(report: Report) -> list[CheckResult]:
    return [each for each in report.results if each.group == VERDICTS]


def _verdict_row(result: CheckResult) -> tuple[str, str]:
    capability = result.id.partition("[")[2].removesuffix("]")
    return capability, "yes" if result.outcome in _PASSED else f"{result.outcome}: {result.reason}"


def _section(title: str, results: Iterable[CheckResult]) -> list[str]:
    rows = [(f"`{each.id}`", each.reason) for each in results if each.group != VERDICTS]
    return [f"## {title}", table(("test", "why"), rows)] if rows else []


def _passed(report: Report) -> str:
    lines = []
    for group in groups_of(report):
        names = [f"`{each.id}`" for each in report.of(*_PASSED, group=group)]
        if names:
            lines.append(f"**{group}**: {', '.join(names)}")
    return "\n\n".join(lines) if lines else "None."


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


def cell(text: str) -> str:
    """A text on one line that ends no cell."""
    return " ".join(text.split()).replace("|", "\\|")
