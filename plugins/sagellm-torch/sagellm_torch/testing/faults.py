"""Faults that a simulated device is told to have."""

from __future__ import annotations

from dataclasses import dataclass

#: What can go wrong.
FAULTS = ("out_of_memory", "device_lost", "error")


@dataclass(slots=True)
class Fault:
    """One fault to come."""

    kind: str
    #: Operators (of this name, where one is given) that still succeed.
    after: int
    #: The operator at which it happens; ``None``: any.
    at: str | None

    def strikes(self, operator: str) -> bool:
        """Whether it happens at this operator, which is about to run."""
        if self.at is not None and operator != self.at:
            return False
        self.after -= 1
        return self.after < 0


class DeviceFailedError(RuntimeError):
    """What ``fail_next("error")`` raises: a kernel that failed, on a device that goes on."""


class NotOnDeviceError(NotImplementedError):
    """The device has no such operator, or no such type.

    torch raises :class:`NotImplementedError` for an operator that a device does not have.
    """
