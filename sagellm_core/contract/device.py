"""Devices as a plugin detects them, and findings about them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DeviceState(StrEnum):
    """Whether a device can be used now."""

    USABLE = "usable"
    #: The hardware is there, but something (driver, permission, library) is missing.
    PRESENT_UNUSABLE = "present_unusable"
    #: The hardware is not there. One such entry explains where the plugin looked.
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """One device, or the statement that there is none."""

    #: How the provider names it, as in ``cpu`` or ``gpu:0``. Unique within the plugin.
    id: str
    state: DeviceState
    #: Product name for people.
    name: str = ""
    #: Why the state is what it is, in one sentence. Required unless usable.
    reason: str = ""
    #: What to do about it, in one sentence.
    hint: str = ""
    #: Bytes of memory on the device; ``None`` when unknown.
    memory_total: int | None = None
    memory_free: int | None = None
    #: Driver version, where there is a driver.
    driver: str = ""
    #: PCI address or UUID. Two plugins that report one id claim one physical device.
    physical_id: str = ""


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of ``sagellm doctor``."""

    severity: Severity
    message: str
    hint: str = ""
