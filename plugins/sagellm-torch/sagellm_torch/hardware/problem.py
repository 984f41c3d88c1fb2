"""Why a device that is there cannot be used."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """One reason, and the way out: what a ``DeviceInfo`` that is not usable says."""

    #: A clause, for the end of "... cannot use example:0, which is present: ...".
    reason: str
    #: One sentence; empty when nothing useful can be said.
    hint: str = ""
