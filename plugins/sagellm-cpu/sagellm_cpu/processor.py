"""The processor: its name, the threads we may use, the instructions it has. No torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path

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
    """Whole processors that the control group's quota amounts to, rounded up."""
    groups = root / "sys/fs/cgroup"
    try:
        # Version 2: "MICROSECONDS PERIOD", or "max PERIOD".
        quota, period = (groups / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (groups / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (groups / "cpu/cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or not int(quota) or not int(period):
        return None  # "max", or -1: no quota
    return -(-int(quota) // int(period))
