"""What ``sagellm bench`` measures."""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from sagellm_core.contract import InvalidRequestError, SamplingParams

if TYPE_CHECKING:
    from sagellm_core.session import Session

#: The lowest ids are special tokens in most vocabularies.
_FIRST_ORDINARY = 10


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One batch size: tokens a second over all its sequences."""

    batch: int
    prefill: float
    decode: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """Everything measured. Medians over the rounds."""

    prompt_tokens: int
    new_tokens: int
    rounds: int
    #: Seconds from choosing a provider to a ready engine.
    load_s: float
    #: Seconds from a prompt alone to its first token.
    ttft_s: float
    #: Most memory that this process had resident.
    peak_rss_bytes: int
    rows: tuple[BatchResult, ...]

    def plain(self) -> dict[str, Any]:
        """As it goes into JSON."""
        return asdict(self)


def measure(
    session: Session, *, batches: Sequence[int], prompt_tokens: int, new_tokens: int, rounds: int
) -> BenchResult:
    """Run batches of random prompts, for one new token and for ``new_tokens``.

    The difference of the two is the decode of ``new_tokens - 1`` tokens. Every run has new
    prompts, so that none is found in a prefix cache.

    :raises InvalidRequestError: prompt and answer do not fit into the context.
    """
    room = session.engine.max_model_len
    if prompt_tokens + new_tokens > room:
        raise InvalidRequestError(
            f"A prompt of {prompt_tokens} tokens and {new_tokens} new ones do not fit into the "
            f"context of {room} tokens.",
            hint=f"Lower --prompt-tokens or --new-tokens; together they are at most {room}.",
        )
    vocab_size = session.engine.tokenizer.vocab_size
    lowest = min(_FIRST_ORDINARY, vocab_size - 1)
    rng = random.Random(0)

    def seconds(batch: int, count: int) -> float:
        prompts = [
            [rng.randrange(lowest, vocab_size) for _ in range(prompt_tokens)] for _ in range(batch)
        ]
        sampling = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True)
        begin = time.perf_counter()
        session.client.generate(prompts, sampling)
        return time.perf_counter() - begin

    ttft = 0.0
    rows = []
    for batch in batches:
        seconds(batch, 2)  # first calls allocate and choose kernels
        prefills = [seconds(batch, 1) for _ in range(rounds)]
        wholes = [seconds(batch, new_tokens) for _ in range(rounds)]
        prefill = median(prefills)
        if batch == 1:
            ttft = prefill
        # Where a step takes less than the clock's noise, the whole may be the shorter one.
        decode = max(median(wholes) - prefill, median(wholes) * 1e-3)
        rows.append(
            BatchResult(batch, batch * prompt_tokens / prefill, batch * (new_tokens - 1) / decode)
        )
    return BenchResult(
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        rounds=rounds,
        load_s=session.load_s,
        ttft_s=ttft,
        peak_rss_bytes=_peak_rss(),
        rows=tuple(rows),
    )


def _peak_rss() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
