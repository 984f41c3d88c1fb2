"""Whether the simulated device is there, and what it has. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

#: How the provider and torch name the device.
DEVICE = "sim:0"
#: Bytes of its memory, unless a test says otherwise.
DEFAULT_MEMORY = 2**30
#: Indices of visible devices, separated by commas, as vendors' variables have it. There is one
#: device, 0; the list ends at the first entry that names none.
VISIBLE_DEVICES = "SIM_VISIBLE_DEVICES"


def hidden_because(env: Mapping[str, str]) -> str | None:
    """Why the device is hidden, the end of a sentence; ``None``: it is visible."""
    asked = env.get(VISIBLE_DEVICES)
    if asked is None or asked.split(",")[0].strip() == "0":
        return None
    if not asked.strip():
        return f"{VISIBLE_DEVICES} is set and empty, which hides the device"
    return f"{VISIBLE_DEVICES}={asked} does not begin with 0, the index of the only device"
