"""What a simulated device was asked to do: operators by name, and copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["host_to_device", "device_to_host"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One copy between host and device."""

    direction: Direction
    nbytes: int
    #: ``copy_to_device`` or ``copy_to_host``; or the operator that needs the host to look at a
    #: value: ``item``, ``nonzero``, ``index`` with a mask, ...
    operator: str
    #: Whether the host waits for it, and with that for all that was queued before.
    waits: bool
    #: Who asked for it: ``module:line in function``.
    place: str

    def __str__(self) -> str:
        waits = ", waited for" if self.waits else ""
        return f"{self.operator} of {self.nbytes} bytes{waits}, {self.place}"


@dataclass(slots=True)
class CopyCount:
    """Copies in one direction."""

    count: int = 0
    nbytes: int = 0
    #: How many of them the host waited for.
    waits: int = 0


@dataclass(slots=True)
class Observation:
    """What happened on the device, from some moment on."""

    #: Operators that compute, by name: ``mm``, ``index_add_``, ``vendor::norm``. Views are none.
    operators: Counter[str] = field(default_factory=Counter)
    #: Views, by name: they cost the host's time only.
    views: Counter[str] = field(default_factory=Counter)
    host_to_device: CopyCount = field(default_factory=CopyCount)
    device_to_host: CopyCount = field(default_factory=CopyCount)
    #: Every copy, in order; kept by :meth:`SimDevice.watch` alone.
    copies: list[Copy] = field(default_factory=list)
    #: The most bytes that were allocated at once.
    peak: int = 0

    @property
    def waits(self) -> list[Copy]:
        """The copies that the host waited for."""
        return [copy for copy in self.copies if copy.waits]

    def reads(self) -> Iterator[Copy]:
        """The copies to the host."""
        return (copy for copy in self.copies if copy.direction == "device_to_host")

    def note(self, copy: Copy, *, keep: bool) -> None:
        """Count a copy, and keep it where every one is wanted."""
        counted = self.host_to_device if copy.direction == "host_to_device" else self.device_to_host
        counted.count += 1
        counted.nbytes += copy.nbytes
        counted.waits += copy.waits
        if keep:
            self.copies.append(copy)
