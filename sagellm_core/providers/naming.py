"""Plugin names: which are allowed, and which one was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Words that mean something else where a backend is named.
RESERVED_NAMES = ("auto", "none")

_NAME = re.compile(r"[a-z][a-z0-9_-]*")


def name_problem(name: str) -> str:
    """What is wrong with a plugin's name, as a clause; empty when it is fine."""
    if name in RESERVED_NAMES:
        return f"the name {name!r} is reserved"
    if not _NAME.fullmatch(name):
        return f"the name {name!r} is not of the form [a-z][a-z0-9_-]*"
    return ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that ``word`` was probably meant to be."""
    # Not needed when every name is right, and not free to import.
    import difflib

    by_lower_case = {name.lower(): name for name in sorted(known)}
    found = difflib.get_close_matches(word.strip().lower(), by_lower_case, n=1, cutoff=0.6)
    return by_lower_case[found[0]] if found else None


def listed(names: Iterable[str]) -> str:
    """Names for a sentence, in order; ``none`` when there are none."""
    return ", ".join(sorted(names)) or "none"
