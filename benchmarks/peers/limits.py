"""What this machine can do at most: ``python -m benchmarks.peers.limits THREADS`` as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

_REPEATS = 7
_READ_BYTES = 1 << 29  # far more than any cache
_GEMM = 2048


@dataclass(frozen=True, slots=True)
class Limits:
    """Best of several measurements, in 1e9 a second."""

    #: Bytes read from memory by all threads, as decoding one sequence reads its weights.
    read_gb: float
    #: Operations (a multiplication and an addition are two) of a large matrix product.
    float32_gflop: float
    bfloat16_gflop: float
    int8_gop: float


def measured(threads: int) -> Limits:
    """Measure in a process of its own, which leaves no threads and no memory behind."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(threads)],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        check=True,
    )
    return Limits(**json.loads(done.stdout))


def _measure(threads: int) -> Limits:
    import torch

    torch.set_num_threads(threads)
    # A sum, because matrix-vector products of torch reach little more than half of it.
    weights = torch.ones(_READ_BYTES // 4)
    read = _READ_BYTES / _best(weights.sum)
    operations = 2 * _GEMM**3
    a, b = torch.rand(_GEMM, _GEMM), torch.rand(_GEMM, _GEMM)
    float32 = operations / _best(lambda: a @ b)
    c, d = a.bfloat16(), b.bfloat16()
    bfloat16 = operations / _best(lambda: c @ d)
    e, f = (a * 100).to(torch.int8), (b * 100).to(torch.int8)
    int8 = operations / _best(lambda: torch._int_mm(e, f))
    return Limits(read / 1e9, float32 / 1e9, bfloat16 / 1e9, int8 / 1e9)


def _best(action: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(int(sys.argv[1])))))
