"""What a comparison with peers found, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from .limits import Limits
from .parameters import Parameters

#: Bits of a weight, scales included, by the name of sagellm's quantisation.
_BITS = {"int8": 8.0, "int4": 4.5, "Q8_0": 8.5, "Q4_0": 4.5, "Q4_1": 5.0}
_DTYPE_BITS = {"float32": 32.0, "bfloat16": 16.0, "float16": 16.0}


@dataclass(slots=True)
class PeerResult:
    """One peer with one kind of weights."""

    name: str
    weights: str
    version: str = ""
    #: What it multiplies in and how it keeps weights, in its own words.
    computes: str = ""
    #: Bits of a weight, scales included; ``None``: as :attr:`computes` says.
    bits: float | None = None
    #: Why it has no numbers; empty where it has.
    failure: str = ""
    #: Seconds from the start of a fresh process to its first token of a prompt, by round.
    start_s: list[float] = field(default_factory=list)
    #: By batch size, seconds of each round: for one new token, and for all.
    prefill_s: dict[int, list[float]] = field(default_factory=dict)
    whole_s: dict[int, list[float]] = field(default_factory=dict)
    #: First token of each prompt, in the order of the prompts, which is the same for all rows.
    first_tokens: list[int] = field(default_factory=list)
    peak_rss_bytes: int = 0

    def weight_bits(self) -> float | None:
        """Bits of a weight, scales included; ``None`` where nobody said."""
        if self.bits is not None:
            return self.bits
        dtype, _, quantization = self.computes.partition(", ")
        return _DTYPE_BITS.get(dtype) if quantization == "none" else _BITS.get(quantization)


@dataclass(slots=True, kw_only=True)
class PeersReport:
    """Everything measured, and on what."""

    model: str
    processor: str
    threads: int
    load_before: float
    load_after: float
    parameters: Parameters | None
    limits: Limits | None
    prompt_tokens: int
    new_tokens: int
    batches: list[int]
    rows: list[PeerResult]

    @property
    def measured(self) -> list[PeerResult]:
        """The rows that have numbers."""
        return [row for row in self.rows if not row.failure]

    def prefill(self, row: PeerResult, batch: int) -> float:
        """Prompt tokens a second, median round."""
        return batch * self.prompt_tokens / median(row.prefill_s[batch])

    def decode(self, row: PeerResult, batch: int) -> float:
        """New tokens a second after the first of each sequence, median round."""
        seconds = median(
            whole - prefill
            for whole, prefill in zip(row.whole_s[batch], row.prefill_s[batch], strict=True)
        )
        return batch * (self.new_tokens - 1) / seconds

    def agreement(self, row: PeerResult) -> float | None:
        """Part of the prompts after which it says what transformers says in float32.

        Quantised weights lose some; another model would lose nearly all. ``None`` without
        transformers.
        """
        for reference in self.measured:
            if reference.name == "transformers" and reference.first_tokens:
                pairs = zip(row.first_tokens, reference.first_tokens, strict=True)
                return sum(a == b for a, b in pairs) / len(reference.first_tokens)
        return None

    def read_gb(self, row: PeerResult) -> float | None:
        """Weights that decoding at the first batch size reads, in 1e9 bytes a second.

        Each step reads all of them once. ``None`` where their count or size is not known.
        """
        bits, batch = row.weight_bits(), self.batches[0]
        if self.parameters is None or bits is None:
            return None
        steps = self.decode(row, batch) / batch
        return steps * self.parameters.decode * bits / 8 / 1e9

    def prefill_gflop(self, row: PeerResult) -> float | None:
        """Operations of the linear layers in prefill at the first batch size, in 1e9 a second.

        Two for each weight of a layer and token; attention is not counted.
        """
        if self.parameters is None:
            return None
        return 2 * self.parameters.layers * self.prefill(row, self.batches[0]) / 1e9
