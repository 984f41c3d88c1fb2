"""How much memory this process may still take. Reads files below a root; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .control_group import group_folders, read_number, read_text

_MEMINFO = "proc/meminfo"
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
    sizes: dict[str, int] = {}
    for line in (read_text(path) or "").splitlines():
        key, _, value = line.partition(":")
        number = value.split()[:1]
        if number and number[0].isascii() and number[0].isdigit():
            sizes[key] = int(number[0]) * 1024
    if "MemTotal" not in sizes:
        return None
    return HostMemory(sizes["MemTotal"], sizes.get("MemAvailable", sizes.get("MemFree", 0)))


def _cgroup(root: Path) -> HostMemory | None:
    """The tightest of the groups that hold this process."""
    unified, legacy = group_folders(root, "memory")
    limits = [_limit(folder, "memory.max", "memory.current") for folder in unified] + [
        _limit(folder, "memory.limit_in_bytes", "memory.usage_in_bytes") for folder in legacy
    ]
    found = [limit for limit in limits if limit is not None]
    if not found:
        return None
    return HostMemory(
        min(limit.total for limit in found), min(limit.available for limit in found), limited=True
    )


def _limit(folder: Path, limit_file: str, usage_file: str) -> HostMemory | None:
    limit = read_number(folder / limit_file)
    if limit is None or limit >= _NO_LIMIT:
        return None
    used = read_number(folder / usage_file) or 0
    # Page cache counts as used and is given back under pressure.
    free = limit - max(0, used - _reclaimable(folder / "memory.stat"))
    return HostMemory(limit, max(0, free), limited=True)


def _reclaimable(path: Path) -> int:
    stats = dict(
        line.split(maxsplit=1)
        for line in (read_text(path) or "").splitlines()
        if len(line.split()) == 2
    )
    value = stats.get("inactive_file") or stats.get("total_inactive_file") or "0"
    return int(value) if value.isascii() and value.isdigit() else 0
