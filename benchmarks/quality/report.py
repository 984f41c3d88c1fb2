"""What a run found."""

from __future__ import annotations

from dataclasses import dataclass, field

from .scores import Loss, WindowScore

#: int8 loses at most this part of perplexity.
INT8_LIMIT = 0.01


@dataclass(slots=True)
class QualityRow:
    """One engine with one kind of weights."""

    name: str
    weights: str
    #: The row that it is compared with, as ``llama.cpp F16``.
    reference: str
    version: str = ""
    computes: str = ""
    #: Why there are no numbers.
    failure: str = ""
    perplexity: float | None = None
    #: ``None`` for a reference, and where the reference failed.
    loss: Loss | None = None
    #: Seconds that it computed, all windows together.
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    windows: list[WindowScore] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit, and what was found."""

    what: str
    limit: float
    found: float

    @property
    def reached(self) -> bool:
        """Whether the loss is at most the limit."""
        return self.found <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """Everything measured, and on what."""

    model: str
    processor: str
    threads: int
    load_before: float
    load_after: float
    text_sha256: str
    #: Tokens of a window; those of its second half count.
    window: int
    #: Tokens that were read.
    tokens: int
    #: Tokens whose prediction counts.
    counted: int
    rows: list[QualityRow]
    bars: list[Bar]


def bars(rows: list[QualityRow]) -> list[Bar]:
    """int8 against 1 %, int4 against what Q4_0 loses in llama.cpp; those that were measured."""
    losses = {(row.name, row.weights): row.loss.change for row in rows if row.loss is not None}
    found = []
    if ("sagellm", "int8") in losses:
        found.append(Bar("int8 against 1 %", INT8_LIMIT, losses["sagellm", "int8"]))
    if ("sagellm", "int4") in losses and ("llama.cpp", "Q4_0") in losses:
        limit = losses["llama.cpp", "Q4_0"]
        found.append(Bar("int4 against llama.cpp's Q4_0", limit, losses["sagellm", "int4"]))
    return found
