"""What became of one test of the suite."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How a test ended."""

    PASSED = "passed"
    FAILED = "failed"
    #: It does not apply here; the reason says why.
    SKIPPED = "skipped"
    #: It failed, as the file of expected failures says.
    XFAILED = "xfailed"
    #: It passed, although the file of expected failures has it.
    XPASSED = "xpassed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One test's outcome, and why."""

    #: As pytest names it within its file: ``TestStatic::test_import_is_quick``.
    id: str
    group: str
    outcome: Outcome
    #: One sentence or a few; empty where it passed.
    reason: str = ""
    seconds: float = 0.0
    #: Declared capabilities that it proves where it passes.
    proves: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The id without its class, in words."""
        words, bracket, case = self.id.rpartition("::")[2].partition("[")
        return words.removeprefix("test_").replace("_", " ") + (f" [{case}" if bracket else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "id": self.id,
            "group": self.group,
            "outcome": str(self.outcome),
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "proves": list(self.proves),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CheckResult:
        """What :meth:`to_dict` gave."""
        return cls(
            id=data["id"],
            group=data["group"],
            outcome=Outcome(data["outcome"]),
            reason=data["reason"],
            seconds=data["seconds"],
            proves=tuple(data["proves"]),
        )
