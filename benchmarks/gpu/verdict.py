"""Whether a report proves anything: what of it is wrong or lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: A part that the caller left out; nothing is missed.
NOT_ASKED_FOR = {"skipped": "not asked for"}
NO_TIME = {"skipped": "no time was left"}


def doubts(report: dict[str, Any]) -> list[str]:
    """A part and what is the matter with it, each; empty: everything that was asked for gave an
    answer, and the right one. Speed is not judged."""
    return [
        f"{name}: {reason}" for name, part in report.items() for reason in _doubts_about(name, part)
    ]


def _doubts_about(name: str, part: Any) -> Iterator[str]:
    if name == "correctness" and isinstance(part, list):
        yield from _doubts_about_answers(part)
    elif isinstance(part, dict) and part != NOT_ASKED_FOR:
        if "skipped" in part:
            yield part["skipped"]
        elif "failed" in part:
            yield part["failed"]
        elif part.get("exit_code", 0) != 0:
            yield f"exit code {part['exit_code']}" if "problem" not in part else part["problem"]


def _doubts_about_answers(answers: list[dict[str, Any]]) -> Iterator[str]:
    # One model may be missing here; without any there is nothing to go by.
    none = not any(each["outcome"] == "same" for each in answers)
    for each in answers:
        if each["outcome"] != "same" and (none or each["outcome"] != "not run"):
            yield f"{each['model']} {each['outcome']} ({each['detail']})"
