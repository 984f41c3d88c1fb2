"""Whether this process may use a device node."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

#: Asked about a device node that exists. Tests hand in one that denies, because root may all.
AccessCheck = Callable[[Path], bool]


def may_open(path: Path) -> bool:
    """Whether the node may be read and written, by its permissions.

    It is not opened: that alone can wake a device. So what a container's device rules deny
    passes here, and is found out by whoever opens it.
    """
    return os.access(path, os.R_OK | os.W_OK)
