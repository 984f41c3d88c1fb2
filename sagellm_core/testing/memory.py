"""How much memory a process holds."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

_STATM = Path("/proc/self/statm")


def private_bytes() -> int | None:
    """Bytes of writable memory of this process, touched or not; ``None`` where nobody tells.

    The sixth number of ``/proc/self/statm`` (proc(5)). What is merely reserved, as allocators do
    for each thread, is not in it, and weights that are mapped from a file are not either.
    """
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[5])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def growth(cycle: Callable[[], None], *, warm: int, times: int) -> int | None:
    """Bytes by which a process grows when something is done again and again.

    :param warm: repetitions beforehand, in which caches and pools fill.
    :param times: repetitions that are measured.
    """
    for _ in range(warm):
        cycle()
    gc.collect()
    before = private_bytes()
    for _ in range(times):
        cycle()
    gc.collect()
    after = private_bytes()
    return None if before is None or after is None else after - before
