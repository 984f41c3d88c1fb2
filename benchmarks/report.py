"""What a benchmark found, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Comparison:
    """One phase at one batch size, on both sides; seconds of each round."""

    phase: str
    batch: int
    #: Tokens that a round processes.
    tokens: int
    ours_s: list[float]
    theirs_s: list[float]

    @property
    def ours(self) -> float:
        """Tokens a second, median round."""
        return self.tokens / median(self.ours_s)

    @property
    def theirs(self) -> float:
        """Tokens a second of transformers, median round."""
        return self.tokens / median(self.theirs_s)

    @property
    def ratio(self) -> float:
        """How many times as fast we are."""
        return self.ours / self.theirs


@dataclass(slots=True)
class Report:
    """Everything measured, and on what."""

    model: str
    processor: str
    threads: int
    #: Load average over the last minute, before and after: other work spoils the numbers.
    load_before: float
    load_after: float
    versions: dict[str, str]
    prompt_tokens: int
    new_tokens: int
    comparisons: list[Comparison]
    #: Whether both sides generated the same tokens, by batch.
    same_tokens: dict[int, bool]
    #: Seconds from the start of the process ``sagellm run`` to its first output, by round.
    startup_s: list[float] = field(default_factory=list)
