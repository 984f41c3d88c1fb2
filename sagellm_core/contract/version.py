"""Which contract this is."""

from __future__ import annotations

from typing import Final

#: pluggy's project name: the prefix that hook markers look for.
PROJECT_NAME: Final = "sagellm"

#: The contract's version, ``major.minor``. A plugin states the version it was written
#: for. A minor adds hooks, fields with defaults, or optional methods, and takes nothing away.
CONTRACT_VERSION: Final = "1.0"

CONTRACT_MAJOR: Final = 1
CONTRACT_MINOR: Final = 0

#: Entry-point groups carry the contract's major: ``sagellm.plugins.v1``.
ENTRY_POINT_GROUP_PREFIX: Final = "sagellm.plugins.v"

#: The group in which plugins of this major register.
ENTRY_POINT_GROUP: Final = f"{ENTRY_POINT_GROUP_PREFIX}{CONTRACT_MAJOR}"

#: Majors whose plugins this core runs: the current one and the one before it.
SUPPORTED_MAJORS: Final = tuple(
    major for major in (CONTRACT_MAJOR, CONTRACT_MAJOR - 1) if major >= 1
)
