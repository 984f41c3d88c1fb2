"""How much memory this process may still take. Reads files below a root; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_MEMINFO = "proc/meminfo"
#: Where the limits of this process's control group are: its own path below these is ignored,
#: because inside a container the group is mounted as the root.
_CGROUP_V2 = "sys/fs/cgroup"
_CGROUP_V1 = "sys/fs/cgroup/memory"
#: Version 1 says "no limit" with a number near 2**63.
_NO_LIMIT = 2**60


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Bytes of memory."""

    total: int
    available: int
    #: Whether a control group's limit is what counts, not the machine.
    limited: bool = False


def read_memory(root: Path) -> HostMemory | None:
    """The smaller of what the machine has and what the control group allows.

    :param root: ``/``, or a made tree.
    :returns: ``None`` where there is neither (not Linux, or /proc is not mounted).
    """
    machine = _meminfo(root / _MEMINFO)
    group = _cgroup(root)
    if machine is None or group is None:
        return machine or group
    total = min(machine.total, group.total)
    available = min(machine.available, group.available)
    return HostMemory(total, available, limited=group.total < machine.total)


def _meminfo(path: Path) -> HostMemory | None:
    """``/proc/meminfo``: lines such as ``MemAvailable:  123 kB`` (proc(5))."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    sizes: dict[str, int] = {}
    for line in lines:
        key, _, value = line.partition(":")
        number = value.split()[:1]
        if number and number[0].isdigit():
            sizes[key] = int(number[0]) * 1024
    if "MemTotal" not in sizes:
        return None
    return HostMemory(sizes["MemTotal"], sizes.get("MemAvailable", sizes.get("MemFree", 0)))


def _cgroup(root: Path) -> HostMemory | None:
    for folder, limit_file, usage_file in (
        (_CGROUP_V2, "memory.max", "memory.current"),
        (_CGROUP_V1, "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        limit = _number(root / folder / limit_file)
        if limit is None or limit >= _NO_LIMIT:
            continue
        used = _number(root / folder / usage_file) or 0
        # Page cache counts as used and is given back under pressure.
        reclaimable = _reclaimable(root / folder / "memory.stat")
        free = limit - max(0, used - reclaimable)
        return HostMemory(limit, min(limit, max(0, free)), limited=True)
    return None


def _reclaimable(path: Path) -> int:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    stats = dict(line.split(maxsplit=1) for line in lines if len(line.split()) == 2)
    value = stats.get("inactive_file") or stats.get("total_inactive_file") or "0"
    return int(value) if value.isdigit() else 0


def _number(path: Path) -> int | None:
    """The number in a file; ``None`` when it is missing, or says ``max``."""
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
