"""What is wrong in a configuration file, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagellm_core.contract import ConfigurationError


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a text; both count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file."""

    path: Path
    #: ``None``: it is about the file as a whole.
    place: Place | None
    message: str
    hint: str

    @property
    def where(self) -> str:
        """``FILE:LINE:COLUMN``, as editors and terminals make links of it."""
        if self.place is None:
            return str(self.path)
        return f"{self.path}:{self.place.line}:{self.place.column}"

    def error(self) -> ConfigurationError:
        """The problem, to raise."""
        return ConfigurationError(f"{self.where}: {self.message}", hint=self.hint)

    def to_dict(self) -> dict[str, Any]:
        """The problem as plain data for JSON."""
        return {
            "path": str(self.path),
            "line": self.place.line if self.place else None,
            "column": self.place.column if self.place else None,
            "message": self.message,
            "hint": self.hint,
        }


class ProblemFound(Exception):
    """Carries a problem out of the reader; never leaves this package."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem
