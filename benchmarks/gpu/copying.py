"""How fast the device copies its own memory: the limit that decoding is held to."""

from __future__ import annotations

import time
from statistics import median

import torch


def copy_bandwidth(device: str, nbytes: int, rounds: int = 20) -> float:
    """Bytes a second, read and written, of copies of ``nbytes``; the median round."""
    source = torch.zeros(nbytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = []
    for _ in range(rounds + 3):
        _wait(device)
        begin = time.perf_counter()
        target.copy_(source)
        _wait(device)
        times.append(time.perf_counter() - begin)
    # The first ones wake the device up.
    return 2 * nbytes / median(times[3:])


def _wait(device: str) -> None:
    if torch.device(device).type != "cpu":
        torch.get_device_module(device).synchronize()
