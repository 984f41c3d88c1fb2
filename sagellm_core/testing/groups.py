"""The groups of the suite, in the order in which they run."""

from __future__ import annotations

from typing import Final

GROUPS: Final = ("static", "detection", "contract", "numeric", "engine", "skew")
#: The verdicts on declared capabilities, which depend on all of the groups.
VERDICTS: Final = "capabilities"
#: Tests that the vendor wrote beside the declaration.
OWN: Final = "own"
