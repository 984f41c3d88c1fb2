"""The processor: its name, the threads we may use, the instructions it has. No torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from .control_group import group_folders, read_text

#: Instructions that matter to matrix products, as /proc/cpuinfo spells them, best last.
NOTABLE_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "sve",
    "i8mm",
    "bf16",
)


def read_name(root: Path) -> str:
    """Product name, from ``/proc/cpuinfo`` or what the platform says."""
    fields = _cpuinfo(root)
    return fields.get("model name") or fields.get("Hardware") or platform.machine() or "CPU"


def read_flags(root: Path) -> tuple[str, ...]:
    """Those of :data:`NOTABLE_FLAGS` that the first processor has."""
    fields = _cpuinfo(root)
    present = set((fields.get("flags") or fields.get("Features") or "").split())
    return tuple(flag for flag in NOTABLE_FLAGS if flag in present)


def identity(root: Path) -> str:
    """All that a compiler or a kernel may go by: name, model and every instruction set."""
    fields = _cpuinfo(root)
    told = ("model name", "cpu family", "model", "CPU part", "CPU variant", "flags", "Features")
    # The order of flags is the kernel's.
    return "\n".join(" ".join(sorted(fields.get(name, "").split())) for name in told)


def _cpuinfo(root: Path) -> dict[str, str]:
    """The first processor's fields."""
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, found, value = line.partition(":")
        if found:
            fields.setdefault(key.strip(), value.strip())
    return fields


def usable_threads(root: Path) -> int:
    """Processors that this process may run on, within the control group's quota; at least 1."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity masks
        allowed = os.cpu_count() or 1
    quota = _quota(root)
    return max(1, allowed if quota is None else min(allowed, quota))


def _quota(root: Path) -> int | None:
    """Whole processors that the tightest quota amounts to, rounded up."""
    unified, legacy = group_folders(root, "cpu")
    # Version 2: "MICROSECONDS PERIOD", or "max PERIOD".
    pairs = [(read_text(folder / "cpu.max") or "").split() for folder in unified]
    pairs += [
        [read_text(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
        for folder in legacy
    ]
    quotas = [_processors(*pair) for pair in pairs if len(pair) == 2]
    return min((quota for quota in quotas if quota is not None), default=None)


def _processors(quota: str, period: str) -> int | None:
    """``None`` for "max", and for -1: no quota."""
    if not quota.isdigit() or not period.isdigit() or not int(quota) or not int(period):
        return None
    return -(-int(quota) // int(period))
