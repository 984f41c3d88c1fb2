"""What is measured: one sequence, a few, and a crowd."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from sagellm_core.contract import EngineConfig, SamplingParams

from .random_weights import write_checkpoint
from .serving import Course, Served, follow, serving
from .shapes import QWEN3_0_6B, QWEN3_8B, Shape, tiny

_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where it runs."""

    backend: str
    #: As torch names it.
    device: str
    dtype: str
    #: Small models and short texts, to see that it runs at all.
    tiny: bool
    #: Where checkpoints are written; the largest has 16 GB.
    scratch: Path


@dataclass(frozen=True, slots=True)
class Measured:
    """One scenario. Bytes are those of weights, keys and values that decoding has to read."""

    name: str
    model: str
    requests: int
    prompt_tokens: int
    new_tokens: int
    seconds: float
    tokens_per_second: float
    #: Between two tokens of a sequence; ``None`` where sequences come and go.
    ms_per_token: float | None
    gb_per_second: float | None
    load_s: float
    dtype: str
    notes: tuple[str, ...]
    #: What the issue asks for, and whether it is met; empty in tiny runs.
    target: str = ""
    met: bool | None = None


def alone(place: Place) -> Measured:
    """One sequence of Qwen3-0.6B's shape; at least 600 tokens a second are asked for."""
    found = _steady(place, "one sequence", QWEN3_0_6B, sequences=1, prompt=128, new=512)
    return _judged(place, found, "at least 600 tokens/s", found.tokens_per_second >= 600)


def few(place: Place) -> Measured:
    """Four sequences of Qwen3-8B's shape; at most 7.2 ms a token are asked for."""
    found = _steady(place, "four sequences", QWEN3_8B, sequences=4, prompt=128, new=256)
    slow = found.ms_per_token
    return _judged(place, found, "at most 7.2 ms a token", slow is not None and slow <= 7.2)


def crowd(place: Place) -> Measured:
    """nano-vllm's benchmark: 256 requests at once, prompts of 100 to 1,024 random tokens and as
    many answered, at temperature 0.6 and whatever ends a text ignored. Its shape is Qwen3-0.6B's;
    at least 15,000 tokens a second are asked for."""
    shape = tiny(QWEN3_0_6B) if place.tiny else QWEN3_0_6B
    requests, least, most = (8, 10, 40) if place.tiny else (256, 100, 1024)
    draw = random.Random(0)
    prompts = [_tokens(draw, shape, draw.randint(least, most)) for _ in range(requests)]
    counts = [draw.randint(least, most) for _ in range(requests)]
    sampling = [
        SamplingParams(temperature=0.6, seed=index, max_tokens=count, ignore_eos=True)
        for index, count in enumerate(counts)
    ]
    config = EngineConfig(
        max_model_len=2 * most + 16,
        max_num_seqs=requests,
        max_prefill_tokens=8192,
        prefix_cache=False,
    )
    with _model(place, shape, config) as served:
        # Every width of a decode step once, so that nothing is compiled or recorded later.
        follow(served.engine, prompts, [_greedy(2 + index % 8) for index in range(requests)])
        _widths(served, draw, shape, requests)
        begin = time.perf_counter()
        courses = follow(served.engine, prompts, sampling)
        seconds = time.perf_counter() - begin
        tokens = sum(course.tokens for course in courses)
        found = Measured(
            name="256 requests" if not place.tiny else f"{requests} requests",
            model=shape.name,
            requests=requests,
            prompt_tokens=sum(map(len, prompts)),
            new_tokens=tokens,
            seconds=seconds,
            tokens_per_second=tokens / seconds,
            ms_per_token=None,
            gb_per_second=None,
            load_s=served.load_s,
            dtype=served.model.dtype,
            notes=tuple(served.model.notes),
        )
    return _judged(place, found, "at least 15,000 tokens/s", found.tokens_per_second >= 15_000)


def _steady(
    place: Place, name: str, shape: Shape, *, sequences: int, prompt: int, new: int
) -> Measured:
    """Sequences that begin and end together; what counts is the time while all of them decode."""
    if place.tiny:
        shape, prompt, new = tiny(shape), 16, 12
    draw = random.Random(0)
    config = EngineConfig(
        max_model_len=prompt + new + 16, max_num_seqs=sequences, prefix_cache=False
    )
    with _model(place, shape, config) as served:
        prompts = [_tokens(draw, shape, prompt) for _ in range(sequences)]
        follow(served.engine, prompts, [_greedy(8)] * sequences)
        seconds = median(
            _decoding(follow(served.engine, prompts, [_greedy(new)] * sequences))
            for _ in range(_ROUNDS)
        )
        itemsize = 4 if served.model.dtype == "float32" else 2
        context = prompt + new / 2
        moved = shape.step_weight_bytes(itemsize) + sequences * context * shape.token_bytes(
            itemsize
        )
        step = seconds / (new - 1)
        return Measured(
            name=name,
            model=shape.name,
            requests=sequences,
            prompt_tokens=prompt * sequences,
            new_tokens=new * sequences,
            seconds=seconds,
            tokens_per_second=sequences / step,
            ms_per_token=step * 1e3,
            gb_per_second=moved / step / 1e9,
            load_s=served.load_s,
            dtype=served.model.dtype,
            notes=tuple(served.model.notes),
        )


def _decoding(courses: list[Course]) -> float:
    """Seconds from when the last one had its first token to when it had its last."""
    latest = max(courses, key=lambda course: course.first_s)
    return latest.last_s - latest.first_s


def _widths(served: Served, draw: random.Random, shape: Shape, requests: int) -> None:
    """Sequences that end one after the other: the step gets narrower by one each time."""
    prompts = [_tokens(draw, shape, 8) for _ in range(requests)]
    follow(served.engine, prompts, [_greedy(4 + index) for index in range(requests)])


def _greedy(count: int) -> SamplingParams:
    return SamplingParams(temperature=0, max_tokens=count, ignore_eos=True)


def _tokens(draw: random.Random, shape: Shape, count: int) -> list[int]:
    return [draw.randrange(shape.decoder.vocab_size) for _ in range(count)]


def _judged(place: Place, found: Measured, target: str, met: bool) -> Measured:
    return found if place.tiny else replace(found, target=target, met=met)


@contextmanager
def _model(place: Place, shape: Shape, config: EngineConfig) -> Iterator[Served]:
    """A checkpoint of random weights that lives as long as the engine over it."""
    with tempfile.TemporaryDirectory(dir=place.scratch) as folder:
        path = Path(folder) / "model"
        write_checkpoint(path, shape, place.device)
        with serving(path, place.backend, config, place.dtype) as served:
            yield served
