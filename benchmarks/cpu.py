"""Prefill and decode on this CPU beside transformers: same weights, same prompts, one process."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from sagellm_cpu.processor import read_name, usable_threads

from sagellm_core.models import describe

from .report import Comparison, Report
from .sagellm_side import SagellmSide
from .startup import first_output_seconds
from .transformers_side import TransformersSide


def measure(
    reference: str,
    *,
    batches: Sequence[int],
    prompt_tokens: int,
    new_tokens: int,
    rounds: int,
    threads: int | None,
    startup: bool,
) -> Report:
    """Run both sides in turn, round by round, so that both meet the same disturbances.

    A round measures ``generate`` for one new token (the prefill) and for ``new_tokens``; the
    difference is the decode of ``new_tokens - 1``.
    """
    root = Path("/")
    threads = threads or usable_threads(root)
    load_before = os.getloadavg()[0]
    startups = []
    if startup:
        # First, while this process holds no memory and no threads.
        startups = [first_output_seconds(reference) for _ in range(rounds)]
        _say(f"start to first token: {min(startups):.2f} to {max(startups):.2f} s")
    comparisons: list[Comparison] = []
    same: dict[int, bool] = {}
    path = describe(reference).path
    assert path is not None, "a described model has a path"
    with (
        tempfile.TemporaryDirectory() as scratch,
        SagellmSide(
            reference,
            max_model_len=prompt_tokens + new_tokens,
            provider_options={"threads": threads},
        ) as ours,
    ):
        theirs = TransformersSide(path, Path(scratch))
        torch.set_num_threads(threads)
        for batch in batches:
            prompts = _prompts(batch, prompt_tokens, theirs.vocab_size)
            found, same[batch] = _compare(ours, theirs, prompts, new_tokens, rounds)
            comparisons += found
            _say(f"batch {batch}: " + ", ".join(f"{c.phase} {c.ratio:.2f}x" for c in found))
    return Report(
        model=reference,
        processor=read_name(root),
        threads=threads,
        load_before=load_before,
        load_after=os.getloadavg()[0],
        versions={name: version(name) for name in ("sagellm-core", "torch", "transformers")},
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        comparisons=comparisons,
        same_tokens=same,
        startup_s=startups,
    )


def _compare(
    ours: SagellmSide,
    theirs: TransformersSide,
    prompts: list[list[int]],
    new_tokens: int,
    rounds: int,
) -> tuple[list[Comparison], bool]:
    seconds: dict[tuple[str, int], list[float]] = {}
    tokens: dict[str, list[list[int]]] = {}
    sides = (("theirs", theirs), ("ours", ours))
    for _, side in sides:  # first calls allocate and choose kernels
        side.generate(prompts, 2)
    for _ in range(rounds):
        for count in (1, new_tokens):
            for name, side in sides:
                taken, tokens[name] = side.generate(prompts, count)
                seconds.setdefault((name, count), []).append(taken)
    batch, length = len(prompts), len(prompts[0])
    decode = {
        name: [
            whole - prefill
            for whole, prefill in zip(seconds[name, new_tokens], seconds[name, 1], strict=True)
        ]
        for name, _ in sides
    }
    return [
        Comparison("prefill", batch, batch * length, seconds["ours", 1], seconds["theirs", 1]),
        Comparison("decode", batch, batch * (new_tokens - 1), decode["ours"], decode["theirs"]),
    ], tokens["ours"] == tokens["theirs"]


def _prompts(batch: int, length: int, vocab_size: int) -> list[list[int]]:
    """Random token ids: speed does not depend on what they say."""
    rng = random.Random(batch)
    return [[rng.randrange(10, vocab_size) for _ in range(length)] for _ in range(batch)]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
