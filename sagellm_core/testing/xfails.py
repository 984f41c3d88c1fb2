"""The file of expected failures: ``test_id  # reason``, one a line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sagellm_core.contract.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ExpectedFailure:
    """One line of the file."""

    #: A test's id, or one without its ``[case]``, which stands for all of its cases.
    id: str
    reason: str
    line: int

    def sentence(self, path: Path | None) -> str:
        """That it is expected no more."""
        return f"{self.id} is expected to fail and passed: take line {self.line} out of {path}."

    def covers(self, test_id: str) -> bool:
        """Whether it is about a test."""
        return test_id == self.id or test_id.partition("[")[0] == self.id


@dataclass(frozen=True, slots=True)
class ExpectedFailures:
    """All of a file. Without a file there are none."""

    path: Path | None = None
    entries: tuple[ExpectedFailure, ...] = ()

    def of(self, test_id: str) -> ExpectedFailure | None:
        """The entry about a test."""
        return next((entry for entry in self.entries if entry.covers(test_id)), None)

    def stale(self, passed: Iterable[str], failed: Iterable[str]) -> list[ExpectedFailure]:
        """Entries whose tests passed, none of them failing any more."""
        passed, failed = list(passed), list(failed)
        return [
            entry
            for entry in self.entries
            if any(map(entry.covers, passed)) and not any(map(entry.covers, failed))
        ]


def read_xfails(path: Path) -> ExpectedFailures:
    """Read a file; empty lines, and lines that begin with ``#``, mean nothing.

    :raises ConfigurationError: it cannot be read, or a line has no reason, or stands twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The file of expected failures {path} cannot be read: {error}.",
            hint="Name a text file in UTF-8; the declaration's is looked for beside its own file.",
        ) from error
    entries: list[ExpectedFailure] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        # A case in brackets may hold a #, but never with white space before it.
        words, _, reason = line.replace("\t", " ").partition(" #")
        test_id = words.strip()
        if not reason.strip():
            raise ConfigurationError(
                f"{path}, line {number}: {test_id!r} has no reason.",
                hint="Write one after the id: test_id  # reason",
            )
        if any(entry.id == test_id for entry in entries):
            raise ConfigurationError(
                f"{path}, line {number}: {test_id!r} stands there twice.", hint="Remove one."
            )
        entries.append(ExpectedFailure(test_id, reason.strip(), number))
    return ExpectedFailures(path, tuple(entries))
