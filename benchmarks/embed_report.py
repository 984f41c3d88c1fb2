"""What the embedding benchmark found, as plain data and as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class TextSet:
    """One set of texts, on both sides; seconds of each round."""

    name: str
    texts: int
    #: Words of all texts in each round; each is one token.
    words: list[int]
    ours_s: list[float]
    theirs_s: list[float]
    #: Largest ``1 - cosine`` between the vectors of the two sides.
    distance: float

    @property
    def ours(self) -> float:
        """Texts a second, median round."""
        return self.texts / median(self.ours_s)

    @property
    def theirs(self) -> float:
        """Texts a second of sentence-transformers, median round."""
        return self.texts / median(self.theirs_s)

    @property
    def ratio(self) -> float:
        """How many times as fast we are."""
        return self.ours / self.theirs


@dataclass(slots=True)
class EmbedReport:
    """Everything measured, and on what."""

    model: str
    #: Of sagellm.
    quantization: str
    processor: str
    threads: int
    load_before: float
    load_after: float
    versions: dict[str, str]
    sets: list[TextSet]
    #: Seconds from the start of a process to its first vector, a round each, by side.
    startup_s: dict[str, list[float]] = field(default_factory=dict)


def show(report: EmbedReport) -> None:
    """Print it."""
    kept = "float32" if report.quantization == "none" else f"{report.quantization} beside float32"
    print(f"model      {report.model}, {kept}")
    print(f"processor  {report.processor}, {report.threads} threads")
    print("versions   " + ", ".join(f"{k} {v}" for k, v in report.versions.items()))
    print(f"load       {report.load_before:.1f} before, {report.load_after:.1f} after\n")
    print("texts                     sagellm  sentence-tr.   ratio  1 - cosine (largest)")
    for row in report.sets:
        label = f"{row.texts} {row.name}"
        print(
            f"{label:22} {row.ours:8.1f}/s {row.theirs:11.1f}/s {row.ratio:6.2f}x  "
            f"{row.distance:.1e}"
        )
    if report.startup_s:
        print("\nstart of a process to its first vector (median)")
        for side, seconds in report.startup_s.items():
            print(f"  {side:32} {median(seconds):.2f} s")
